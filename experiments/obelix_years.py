"""When the labels of OBELiX were published: years out of DOIs, where they tell one.

Of the 478 rows of its official training part some nine in ten do.
"""

import re

__all__ = ["year_of"]

YEARS = {"10.1149/1.2086597": 1990, "10.1149/1.2096693": 1989, "10.1038/nmat3066": 2011}
"""Of papers whose DOI does not tell: Aono et al., J. Electrochem. Soc. 137, 1023 and 136, 590;
Kamaya et al., Nat. Mater. 10, 682."""


def year_of(doi: str) -> int:
    """The year that a DOI tells, 0 where it tells none.

    The old codes of the American Chemical Society hold the year in which a paper was handed in.
    """
    doi = doi.lower()
    if doi in YEARS:
        return YEARS[doi]
    if found := re.search(r"(?<!\d)(19[5-9]\d|20[0-2]\d)(?!\d)", doi):
        return int(found[1])  # j.ssi.2004.01.001
    if found := re.search(r"\((\d\d)\)\d", doi):
        return _century(int(found[1]))  # 0167-2738(81)90341-9
    if found := re.match(r"10\.1002/[a-z]+\.((?:19|20)\d\d)\d", doi):
        return int(found[1])  # zaac.200500231
    if found := re.match(r"10\.1021/(?:acs\.[a-z]+|jacs|acs[a-z]+)\.(\d)[a-z]\d", doi):
        return 2010 + int(found[1]) + (10 if int(found[1]) < 5 else 0)  # acs.chemmater.6b02648
    if found := re.match(r"10\.1039/([abcd])(\d)", doi):
        return {"a": 1990, "b": 2000, "c": 2010, "d": 2020}[found[1]] + int(found[2])
    if found := re.match(r"10\.(?:1007|1038|1557)/s\d+-0(\d\d)-", doi):
        return 2000 + int(found[1])  # s11581-006-0011-9
    if found := re.match(r"10\.1021/(?:ja|jp|cm|ic|am|nl)(\d)(\d)", doi):
        two = int(found[1] + found[2])
        return _century(two) if two <= 10 or two >= 95 else 2009 + int(found[1])
    return 0


def _century(two: int) -> int:
    return 1900 + two if two > 30 else 2000 + two
