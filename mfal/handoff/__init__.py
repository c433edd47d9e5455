"""Batches handed to people, to DFT and to the laboratory, and their answers taken back."""

from typing import TYPE_CHECKING

from mfal.lazy import lazily

if TYPE_CHECKING:
    from mfal.handoff.answers import AnswerError, ReturnedAnswer, ReturnedAnswers, read_answers
    from mfal.handoff.batch import (
        AskedBatch,
        Request,
        WrittenBatch,
        read_batch,
        request_id,
        write_batch,
    )
    from mfal.handoff.exchange import ask, tell, withdraw

__all__ = [
    "AnswerError",
    "AskedBatch",
    "Request",
    "ReturnedAnswer",
    "ReturnedAnswers",
    "WrittenBatch",
    "ask",
    "read_answers",
    "read_batch",
    "request_id",
    "tell",
    "withdraw",
    "write_batch",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "answers": "ReturnedAnswer AnswerError ReturnedAnswers read_answers",
        "batch": "AskedBatch Request WrittenBatch read_batch request_id write_batch",
        "exchange": "ask tell withdraw",
    },
)
