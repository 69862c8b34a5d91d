"""Rows of other people's tables, beside which our figures stand.

As printed there; how ties are ranked is stated by none of them, nor on which split each model was
chosen.
"""

from dataclasses import dataclass

RSICD_CAVEAT = (
    "Published rows: the full RSICD test split, 1,093 pictures of 224 px. They and ours cannot be "
    "compared one to one."
)


@dataclass(frozen=True)
class Published:
    """A row of somebody else's table.

    Attributes:
        method: as the source calls it.
        recalls: image-to-text R@1, 5, 10, then text-to-image R@1, 5, 10, percent.
        mean: mR as printed by the source, percent.
        source: where it stands.
    """

    method: str
    recalls: tuple[float, float, float, float, float, float]
    mean: float
    source: str


# Repositories are named as on GitHub.
PE = "ZhanYang-nwpu/PE-RSITR, README"
AMFMN = f"AMFMN (arXiv 2204.09868), table II; {PE}"
REMOTE = "ChenDelong1999/RemoteCLIP, README, table 2"
BOTH = f"{PE}; {REMOTE}"
KAMCL = "mcx-mcx/KAMCL, figure"
PIR = "jaychempan/PIR, README"
GALR = "xiaoyuan1996/GaLR, figure"

#: UCM-Captions test, 210 pictures, 1,050 captions; as printed, how ties are ranked is not stated.
PUBLISHED_UCM = (
    Published("CLIP B/32, zero-shot", (10.95, 34.76, 55.71, 7.33, 35.14, 54.57), 33.08, PE),
    Published("VSE++", (12.38, 44.76, 65.71, 10.10, 31.80, 56.85), 36.93, AMFMN),
    Published("LW-MCR(b)", (12.38, 43.81, 59.52, 12.00, 46.38, 72.48), 41.10, PE),
    Published("CAMP-triplet", (10.95, 44.29, 65.71, 9.90, 46.19, 76.29), 42.22, AMFMN),
    Published("SCAN i2t", (12.85, 47.14, 69.52, 12.48, 46.86, 71.71), 43.43, AMFMN),
    Published("MTFN", (10.47, 47.62, 64.29, 14.19, 52.38, 78.95), 44.65, AMFMN),
    Published("SCAN t2i", (14.29, 45.71, 67.62, 12.76, 50.38, 77.24), 44.67, AMFMN),
    Published("LW-MCR(d)", (15.24, 51.90, 62.86, 11.90, 50.95, 75.24), 44.68, PE),
    Published("LW-MCR(u)", (18.10, 47.14, 63.81, 13.14, 50.38, 79.52), 45.35, BOTH),
    Published("AMFMN-sim", (14.76, 49.52, 68.10, 13.43, 51.81, 76.48), 45.68, AMFMN),
    Published("AMFMN-soft", (12.86, 51.90, 66.67, 14.19, 51.71, 78.48), 45.97, AMFMN),
    Published("AMFMN-fusion", (16.67, 45.71, 68.57, 12.86, 53.24, 79.43), 46.08, AMFMN),
    Published("CABIR", (15.17, 45.71, 72.85, 12.67, 54.19, 89.23), 48.30, PE),
    Published("RemoteCLIP RN50", (13.33, 50.48, 74.76, 15.24, 57.14, 84.57), 49.25, REMOTE),
    Published("CLIP B/32, fine-tuned", (17.14, 55.24, 79.52, 13.90, 56.95, 91.81), 52.43, PE),
    Published("Rahhal et al.", (19.04, 53.33, 77.61, 19.33, 64.00, 91.42), 54.12, BOTH),
    Published("RemoteCLIP L/14", (19.05, 54.29, 80.95, 17.71, 62.19, 93.90), 54.68, REMOTE),
    Published("CLIP-CL B/32 (RET-3)", (20.00, 55.24, 80.95, 18.19, 64.86, 92.38), 55.27, REMOTE),
    Published("PE-RSITR", (22.71, 55.81, 80.33, 18.82, 62.84, 93.72), 55.71, PE),
    Published("RemoteCLIP B/32", (20.48, 59.85, 83.33, 18.67, 61.52, 94.29), 56.36, REMOTE),
)

#: RSICD test, 1,093 pictures: dual encoders without CLIP weights, and two that start from them.
PUBLISHED_RSICD = (
    Published("GaLR", (6.50, 18.91, 29.70, 5.11, 19.57, 31.92), 18.62, GALR),
    Published(
        "KAMCL, ResNet-18",
        (9.24, 22.51, 36.23, 6.70, 24.13, 39.14),
        23.26,
        f"{KAMCL} (its six cells average 22.99)",
    ),
    Published(
        "Swin-T + BERT, PIR's baseline",
        (10.52, 25.07, 36.78, 6.11, 23.64, 38.28),
        23.40,
        PIR,
    ),
    Published("PIR", (9.88, 27.26, 39.16, 6.97, 24.56, 38.92), 24.46, PIR),
    Published("KAMCL, ResNet-50", (12.08, 27.26, 38.70, 8.65, 27.43, 42.51), 26.10, KAMCL),
    Published("CLIP B/32, fine-tuned", (13.54, 30.83, 43.46, 11.55, 33.14, 49.83), 30.39, PE),
    Published("RemoteCLIP B/32", (17.02, 37.97, 51.51, 13.71, 37.11, 54.25), 35.26, REMOTE),
)


def published_rows(data: str, split: str) -> tuple[tuple[Published, ...], str]:
    """Published rows that belong under a table, and what to say of them."""
    if "ucm" in data.lower() and split == "test":
        return PUBLISHED_UCM, ""
    if "rsicd" in data.lower() and split != "train":
        return PUBLISHED_RSICD, RSICD_CAVEAT
    return (), ""
