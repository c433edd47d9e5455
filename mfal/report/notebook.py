"""A campaign's results in a program or a notebook."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mfal.campaign.folder import read_campaign
from mfal.report.export import candidate_table
from mfal.report.summary import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["candidate_frame", "read_summary"]


def read_summary(folder: Path | str) -> Summary:
    """What the campaign in a folder has found so far, whether it is running or not.

    Raises:
      MfalError: where there is no campaign.
    """
    with read_campaign(Path(folder)) as ledger:
        return summarise(ledger)


def candidate_frame(summary: Summary) -> "pd.DataFrame":
    """The candidates as a data frame with the columns of candidates.csv, best first.

    Their atoms are `summary.candidates[i].structure`.
    """
    import pandas as pd

    header, rows = candidate_table(summary)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    text.seek(0)
    # Empty cells alone are unknown: NaN is a formula, too.
    return pd.read_csv(text, keep_default_na=False, na_values=[""])
