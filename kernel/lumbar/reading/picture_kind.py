"""ImageType, frame type and text -> which of several pictures of one place a file or frame holds.

One acquisition gives several pictures: a Dixon sequence water, fat, in phase and opposed phase; any sequence
magnitude and phase. The networks know spin-echo magnitude, to which in-phase comes nearest.
"""

import re

PLAIN, IN_PHASE, WATER, REAL = "magnitude", "in phase", "water", "real"
USABLE = (PLAIN, IN_PHASE, WATER, REAL)  # in the order of preference
FAT, OPPOSED, PHASE, IMAGINARY, MAP = "fat", "opposed phase", "phase", "imaginary", "a computed map"

# Values of ImageType or FrameType from the third on (PS3.3 C.8.3.1.1.1, C.8.13.3.1.1), and what vendors write.
VALUES = {
    WATER: ("WATER", "W", "WATER_ONLY", "DIXON_WATER"),
    FAT: ("FAT", "F", "FAT_ONLY", "DIXON_FAT"),
    IN_PHASE: ("IN_PHASE", "IP", "IN", "INPHASE", "IN PHASE"),
    OPPOSED: (
        "OUT_PHASE",
        "OP",
        "OPP",
        "OPP_PHASE",
        "OPPOSED_PHASE",
        "OUTPHASE",
        "OUT_OF_PHASE",
        "OUT PHASE",
    ),
    PHASE: ("P", "PHASE", "PHASE MAP", "PHASE_MAP", "PHASE CONTRAST", "P_SE", "P_IR", "P_FFE", "VELOCITY"),
    IMAGINARY: ("I", "IMAGINARY", "I_SE", "I_IR", "I_FFE"),
    REAL: ("R", "REAL", "R_SE", "R_IR", "R_FFE"),
    MAP: (
        *(
            "FF",
            "FAT_FRACTION",
            "WATER_FRACTION",
            "FIELD_MAP",
            "FIELD MAP",
            "B0",
            "B0 MAP",
            "R2_STAR",
            "T2_STAR",
        ),
        *("T2_STAR MAP", "T1 MAP", "T2 MAP", "R2 MAP", "PROTON_DENSITY MAP", "RELATIVE_WATER_FRACTION"),
    ),
}
KIND_OF_VALUE = {value: kind for kind, values in VALUES.items() for value in values}
# GE's raw data type, (0043,102F), and Philips' image type, (2005,1011): private tags that may be the only ones.
RAW_TYPE, PHILIPS_TYPE = 0x0043102F, 0x20051011
KIND_OF_RAW = {"0": PLAIN, "1": PHASE, "2": REAL, "3": IMAGINARY}

# Of a series' text, where no tag has it. A Dixon series ends in its kind: "t2_tse_dixon_sag_W".
DIXON = r"dixon|ideal|lava.?flex|\bflex\b|\bdix\b"
TEXTS = (
    (OPPOSED, r"(?:opp(?:osed)?|out|op)(?: ?-?of)?[ _-]?(?:ph|phase)\b|outphase"),
    (IN_PHASE, r"\bin[ _-]?(?:ph|phase)\b|inphase"),
    (WATER, r"^water ?[:(]|water[ _-]?(?:only|image)|[ _]water$"),
    (FAT, r"^fat ?[:(]|fat[ _-]?(?:only|image)|[ _]fat$"),
    (PHASE, r"[ _](?:pha|phase)(?:[ _]?(?:map|image|images))?$|^phase[ _](?:map|image)"),
)
DIXON_ENDS = (
    (WATER, r"[ _]w$"),
    (FAT, r"[ _]f$"),
    (IN_PHASE, r"[ _](?:in|ip)$"),
    (OPPOSED, r"[ _](?:opp|op|out)$"),
)


def picture_kind(types: tuple[str, ...], component: str, raw: str, text: str) -> str:
    """Return which picture it is; PLAIN where nothing names another one.

    Args:
        types: ImageType's values, or the frame's FrameType's.
        component: ComplexImageComponent: MAGNITUDE, PHASE, REAL, IMAGINARY, MIXED, or "".
        raw: Value of a private tag: KIND_OF_RAW's keys or VALUES, or "".
        text: SeriesDescription, in small letters.
    """
    later = [value.strip().upper() for value in types[2:]]
    for value in (*later, component.strip().upper()):
        if value in KIND_OF_VALUE and (len(value) > 1 or value in later[:2]):
            return KIND_OF_VALUE[value]
    if raw in KIND_OF_RAW:
        return KIND_OF_RAW[raw]
    if raw.upper() in KIND_OF_VALUE:
        return KIND_OF_VALUE[raw.upper()]
    ends = DIXON_ENDS if re.search(DIXON, text) else ()
    return next((kind for kind, pattern in (*TEXTS, *ends) if re.search(pattern, text)), PLAIN)
