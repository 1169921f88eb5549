"""Words that scanners and archives are set to write, by language, and a text in plain letters to find them in.

Each entry is a regular expression for ``plain_letters``: small letters without accents, one space between words.
Languages: English, German, French, Italian, Spanish, Portuguese, Dutch, Polish, Turkish, Russian, Chinese, Japanese.
"""

import re
import unicodedata

LUMBAR = {
    "en": (
        r"lumb",
        r"(?<![a-z])l ?[-/]?s? ?[-/]?sp(?:ine)?\b",
        r"\bl ?[-/]? ?s{1,2}\b",
        r"\bl ?\d ?[-/]? ?s ?1\b",
    ),
    "de": (r"lumbal", r"\blws\b", r"\blwk\b", r"lendenw"),
    "fr": (r"lombai", r"lombo", r"lombal"),
    "it": (r"lombar", r"\blombo"),
    "es": (r"lumbar", r"lumbo"),
    "pt": (r"lombar", r"\blombo"),
    "nl": (r"lumbaal", r"\blwk\b", r"lendenw"),
    "pl": (r"ledzwi", r"lumbal"),
    "tr": (r"lomber", r"lumbosakral", r"\bbel (?:omur|fitig|mr)"),
    "ru": (r"пояснич", r"люмб", r"\bпкоп\b", r"\bпоп\b"),
    "zh": (r"腰椎", r"腰骶"),
    "ja": (r"腰椎", r"腰仙"),
}
SPINE = {
    "en": (r"\bspine\b", r"\bspinal\b"),
    "de": (r"wirbels", r"\bws\b"),
    "fr": (r"rachis", r"colonne"),
    "it": (r"colonna", r"rachide"),
    "es": (r"columna", r"raquis"),
    "pt": (r"coluna",),
    "nl": (r"wervel",),
    "pl": (r"kregoslup",),
    "tr": (r"omurga", r"vertebra"),
    "ru": (r"позвон",),
    "zh": (r"脊柱", r"脊椎"),
    "ja": (r"脊椎", r"脊柱"),
}
CERVICAL = {
    "en": (r"cervic", r"(?<![a-z])c ?[-/]?sp(?:ine)?\b", r"\bneck"),
    "de": (r"zervik", r"\bhws\b", r"\bhwk\b", r"halsw"),
    "fr": (r"cervic", r"\bnuque"),
    "it": (r"cervic", r"\bcollo\b"),
    "es": (r"cervic", r"\bcuello"),
    "pt": (r"cervic", r"\bpescoco"),
    "nl": (r"cervic", r"\bcwk\b", r"halsw", r"\bnek\b"),
    "pl": (r"szyjn", r"\bszyi\b"),
    "tr": (r"servik", r"\bboyun"),
    "ru": (r"шеин", r"\bшоп\b"),
    "zh": (r"颈", r"頸"),
    "ja": (r"頸", r"頚"),
}
THORACIC = {
    "en": (r"thorac", r"(?<![a-z0-9])[td] ?[-/]?sp(?:ine)?\b", r"dorsal", r"\bchest"),
    "de": (r"thorak", r"\bbws\b", r"\bbwk\b", r"brustw"),
    "fr": (r"thorac", r"dorsal", r"\bdorso"),
    "it": (r"torac", r"dorsal"),
    "es": (r"torac", r"dorsal"),
    "pt": (r"torac", r"dorsal"),
    "nl": (r"thorac", r"borstw"),
    "pl": (r"piersiow", r"\bthorak"),
    "tr": (r"torak", r"\bsirt\b"),
    "ru": (r"грудн", r"\bгоп\b"),
    "zh": (r"胸",),
    "ja": (r"胸",),
}
HEAD = {
    "en": (r"brain", r"\bhead\b(?! first)", r"skull", r"cerebr", r"orbit", r"pituitar"),
    "de": (r"\bkopf", r"schadel", r"hirn", r"hypophys"),
    "fr": (r"cerveau", r"\btete\b", r"\bcran", r"encephal"),
    "it": (r"cervello", r"\btesta\b", r"\bcranio", r"encefal"),
    "es": (r"cerebro", r"cabeza", r"craneo", r"encefal"),
    "pt": (r"cerebro", r"cabeca", r"cranio", r"encefal"),
    "nl": (r"hersen", r"\bhoofd", r"schedel"),
    "pl": (r"\bglow[ay]\b", r"\bmozg", r"czaszk"),
    "tr": (r"\bbeyin", r"\bkafa", r"kranial", r"\bhipofiz"),
    "ru": (r"голов", r"череп", r"гипофиз"),
    "zh": (r"头", r"颅", r"脑", r"頭", r"腦"),
    "ja": (r"頭部", r"脳", r"頭蓋"),
}
ELSEWHERE = {
    "en": (
        *(
            r"\bknee",
            r"\bhips?\b",
            r"pelvi",
            r"sacro ?-?ili",
            r"\bsi ?-?joint",
            r"abdom",
            r"\bliver",
            r"shoulder",
        ),
        *(
            r"ankle",
            r"\bfoot\b",
            r"wrist",
            r"elbow",
            r"\bhand\b",
            r"breast",
            r"prostat",
            r"\bheart",
            r"cardiac",
        ),
        *(r"femur", r"\bthigh", r"uter(?:us|ine)"),
    ),
    "de": (
        r"\bknie",
        r"hufte",
        r"becken",
        r"\bisg\b",
        r"iliosakral",
        r"\bbauch",
        r"\bleber",
        r"schulter",
        r"mamma",
    ),
    "fr": (r"genou", r"hanche", r"bassin", r"epaule", r"\bfoie\b", r"cheville", r"poignet", r"\bsein"),
    "it": (r"ginocchi", r"\banca\b", r"bacino", r"spalla", r"fegato", r"addom", r"caviglia", r"mammell"),
    "es": (r"rodilla", r"cadera", r"hombro", r"higado", r"tobillo", r"muneca", r"\bmama\b"),
    "pt": (r"joelho", r"quadril", r"\bombro", r"figado", r"tornozelo", r"punho", r"\bbacia"),
    "nl": (r"\bknie", r"\bheup", r"bekken", r"schouder", r"\bbuik", r"enkel\b", r"\bpols"),
    "pl": (r"kolan", r"biodr", r"miednic", r"\bbark", r"brzuch", r"watrob"),
    "tr": (r"\bdiz\b", r"kalca", r"omuz", r"karaciger", r"ayak"),
    "ru": (r"колен", r"тазобедр", r"\bтаза?\b", r"плеч", r"брюшн", r"печен", r"стоп[аы]\b"),
    "zh": (r"膝", r"髋", r"骨盆", r"肩", r"腹", r"肝", r"踝"),
    "ja": (r"膝", r"股関節", r"骨盤", r"肩", r"腹部", r"肝", r"足関節"),
}
LOCALIZER = {
    "en": (
        *(
            r"locali[sz]",
            r"\bloc\b",
            r"scout",
            r"survey",
            r"\b3 ?-?pl(?:an|\b)",
            r"calibration",
            r"\bcal\b",
        ),
        *(
            r"smartbrain",
            r"\bpilot",
            r"\bplan(?:ning)? ?scan",
            r"\bplanning\b",
            r"\btopo(?:gram)?\b",
            r"scanogram",
        ),
    ),
    "de": (r"lokali[sz]", r"ubersicht", r"planung"),
    "fr": (r"reperage", r"\breperes?\b", r"localis", r"topogram", r"centrage"),
    "it": (r"localizz", r"centratura", r"posizionament"),
    "es": (r"localiz", r"rastreo", r"planificac"),
    "pt": (r"localiz", r"rastread", r"planejament"),
    "nl": (r"lokali", r"overzicht"),
    "pl": (r"lokaliz", r"\bpilot", r"przeglad", r"celownik"),
    "tr": (r"lokaliz", r"kilavuz"),
    "ru": (r"локали", r"локалаи", r"разметк", r"обзор", r"топограм"),
    "zh": (r"定位",),
    "ja": (r"位置決", r"ロケ", r"ローカライ", r"スカウト", r"パイロット"),
}
PLANES = {
    "sagittal": (r"\bsag", r"саг", r"矢状"),
    "coronal": (r"\b[ck]or(?:$|[^a-z]|on)", r"\bfrontal", r"корон", r"фронт", r"冠状"),
    "axial": (
        r"\bax",
        r"\btra",
        r"\bass(?:iale)?\b",
        r"\bquer",
        r"аксиал",
        r"трансв",
        r"поперечн",
        r"横断",
        r"轴",
    ),
}
ABROAD = str.maketrans("łıøđæß", "liodas")  # letters that are no letter and accent


def plain_letters(text: str) -> str:
    """Return a text in small letters without accents, underscores and runs of spaces as one space."""
    letters = unicodedata.normalize("NFKD", text.casefold()).translate(ABROAD)
    letters = unicodedata.normalize("NFC", "".join(c for c in letters if not "\u0300" <= c <= "\u036f"))
    return re.sub(r"[_\s]+", " ", letters).strip()


def found_word(words: dict[str, tuple[str, ...]], text: str) -> str:
    """Return the first word of a list that a text in plain letters has, "" where it has none."""
    for patterns in words.values():
        for pattern in patterns:
            if match := re.search(pattern, text):
                return match[0]
    return ""


def named_planes(text: str) -> list[str]:
    """Return the planes that a text in plain letters names."""
    return [plane for plane, patterns in PLANES.items() if any(re.search(p, text) for p in patterns)]
