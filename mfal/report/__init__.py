"""What people get to see at the end."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.report.curve import Curve
    from mfal.report.display import show_progress
    from mfal.report.export import candidate_table, write_candidates
    from mfal.report.figures import all_figures
    from mfal.report.html import render_page, write_page
    from mfal.report.notebook import candidate_frame, read_summary
    from mfal.report.pareto import write_pareto
    from mfal.report.paths import energy_maps
    from mfal.report.plain import summary_to_dict, summary_to_json
    from mfal.report.plot import Figure, write_figure
    from mfal.report.summary import Candidate, Summary, summarise
    from mfal.report.terminal import print_summary

__all__ = [
    "Candidate",
    "Curve",
    "Figure",
    "Summary",
    "all_figures",
    "candidate_frame",
    "candidate_table",
    "energy_maps",
    "print_summary",
    "read_summary",
    "render_page",
    "show_progress",
    "summarise",
    "summary_to_dict",
    "summary_to_json",
    "write_candidates",
    "write_figure",
    "write_page",
    "write_pareto",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "curve": "Curve",
        "display": "show_progress",
        "export": "candidate_table write_candidates",
        "figures": "all_figures",
        "html": "render_page write_page",
        "notebook": "candidate_frame read_summary",
        "pareto": "write_pareto",
        "paths": "energy_maps",
        "plain": "summary_to_dict summary_to_json",
        "plot": "Figure write_figure",
        "summary": "Candidate Summary summarise",
        "terminal": "print_summary",
    },
)
