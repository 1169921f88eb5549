"""The published ensemble's classifiers, and the time that it would take on a notebook's cards."""

TEST_STUDIES = 720  # of the competition's hidden set
T4_RATE = 65e12  # FLOP/s in float16, the card's data sheet
T4_BANDWIDTH = 320e9  # bytes/s, the same
# Classifiers by backbone: family A's 3 x 5 folds, family B's 3 axes x 5 folds x 2 seeds.
PUBLISHED = {"convnext_tiny": 5, "convnext_small": 30, "caformer_s18": 5, "pvt_v2_b3": 5}


def t4_minutes(seconds_per_study: float, rate: float, bandwidth: float, cards: int = 2) -> float:
    """Return the minutes for all test studies on T4s, from the seconds of a faster card.

    A T4 is slower by the larger of two ratios, of FLOP/s and of bytes/s. The cards share the studies evenly, and
    reading keeps up with them.

    Args:
        seconds_per_study: Measured on one card.
        rate: Of that card, FLOP/s of a large float16 matrix product.
        bandwidth: Of that card, bytes/s of copies on it.
        cards: T4s.
    """
    slower = max(1.0, rate / T4_RATE, bandwidth / T4_BANDWIDTH)
    return TEST_STUDIES * seconds_per_study * slower / cards / 60
