"""What of a request a model reads, where it does not fit into its window.

fitted(Request(context, continuation), window=256)
"""

from __future__ import annotations

from trainer.evaluation.tasks.likelihoods import Request


def fitted(request: Request, window: int) -> Request:
    """The end of a request, of which ``window`` tokens are read; the last one is only predicted.
    The harness's class for Hugging Face models cuts so too.
    """
    surplus = len(request.context) + len(request.continuation) - (window + 1)
    if surplus <= 0:
        return request
    whole = (*request.context, *request.continuation)
    first = max(1, len(request.context) - surplus)  # something is read before what is predicted
    return Request(whole[surplus:][:first], whole[surplus:][first:])
