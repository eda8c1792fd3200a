"""What a start tag, an end tag and text do to the elements that are open: the tree construction of
the HTML standard (section 13.2.6), as far as it decides how deep a page is.
"""

from __future__ import annotations

from artifacts.jit import kernel
from pipelines.readers.pages.open_elements import (
    COUNT,
    IN_FOREIGN,
    IN_POINT,
    KIND,
    MARK,
    NAME,
    OPEN,
    PARAGRAPHS,
    TOP,
    Stack,
    end_formatting,
    end_other,
    find,
    forget_to_mark,
    go_on,
    leaf,
    pop_to,
    push,
    remember,
    take_out,
)
from pipelines.readers.pages.tags import (
    ANCHOR,
    BARRIER,
    BREAK,
    BREAKS_OUT,
    BUTTON,
    BUTTON_BARRIER,
    CAPTION,
    CELL,
    CLOSES_P,
    DEFINITION,
    ENDS_IN_SCOPE,
    FOREIGN,
    FORM,
    FORMATTING,
    HEADING,
    IGNORED,
    ITEM,
    LIST_BARRIER,
    MARKER,
    OPTION,
    PARAGRAPH,
    POINT,
    ROW,
    ROW_GROUP,
    SPECIAL,
    TABLE,
    TABLE_PART,
    TBODY,
    TEMPLATE,
    TR,
    TRANSPARENT,
    VOID,
    P,
)


@kernel
def text(stack: Stack) -> None:
    """Characters."""
    if stack[COUNT, TOP] == 0 or not stack[KIND, stack[COUNT, TOP] - 1] & IN_FOREIGN:
        go_on(stack)
    leaf(stack)


@kernel
def start_tag(stack: Stack, name: int, bits: int, mark: int, self_closed: bool) -> bool:
    """The start tag of an element; ``mark``: hash of the whole tag. True where the element is one
    of HTML, so that text alone may follow.
    """
    top = stack[COUNT, TOP]
    if top > 0 and stack[KIND, top - 1] & IN_FOREIGN and not stack[KIND, top - 1] & IN_POINT:
        if not bits & BREAKS_OUT:
            _start_foreign(stack, name, bits, self_closed)
            return False
        while top > 0 and stack[KIND, top - 1] & IN_FOREIGN and not stack[KIND, top - 1] & IN_POINT:
            top -= 1
        pop_to(stack, top)
    if bits & FOREIGN:
        go_on(stack)
        _start_foreign(stack, name, bits, self_closed)
        return False
    if not bits & IGNORED:
        _start_html(stack, name, bits, mark)
    return True


@kernel
def _start_foreign(stack: Stack, name: int, bits: int, self_closed: bool) -> None:
    kind = IN_FOREIGN | (IN_POINT if bits & POINT else 0)
    if self_closed:
        leaf(stack)
    else:
        push(stack, name, kind, -1)


@kernel
def _start_html(stack: Stack, name: int, bits: int, mark: int) -> None:
    if bits & TABLE_PART:
        _start_table_part(stack, name, bits)
        return
    if bits & ITEM:
        _close_item(stack, bits)
    if bits & CLOSES_P and stack[COUNT, PARAGRAPHS]:
        _close(stack, find(stack, P, 0, BARRIER | BUTTON_BARRIER))
    top = stack[COUNT, TOP] - 1
    if (bits & HEADING and top >= 0 and stack[KIND, top] & HEADING) or (
        bits & OPTION and top >= 0 and stack[KIND, top] & OPTION
    ):
        pop_to(stack, top)
    elif bits & TABLE:
        inner = find(stack, 0, TABLE | CELL | CAPTION, TEMPLATE)
        if inner >= 0 and stack[KIND, inner] & TABLE:
            pop_to(stack, inner)
    elif bits & BUTTON:
        _close(stack, find(stack, name, 0, BARRIER))
    elif bits & ANCHOR and find(stack, name, 0, BARRIER) >= 0:
        end_formatting(stack, name)
    if not bits & CLOSES_P:
        go_on(stack)
    if bits & VOID:
        leaf(stack)
    elif bits & FORMATTING:
        push(stack, name, bits, remember(stack, name, mark, OPEN))
    else:
        if bits & (MARKER | TEMPLATE):
            remember(stack, name, 0, MARK)
        push(stack, name, bits, -1)


@kernel
def _close(stack: Stack, place: int) -> None:
    if place >= 0:
        pop_to(stack, place)


@kernel
def _close_item(stack: Stack, bits: int) -> None:
    """A list item ends the one before it."""
    wanted = DEFINITION if bits & DEFINITION else ITEM
    row = stack[COUNT, TOP] - 1
    while row >= 0:
        kind = stack[KIND, row]
        if kind & wanted and (kind & DEFINITION) == (bits & DEFINITION):
            pop_to(stack, row)
            return
        if kind & IN_POINT or (kind & SPECIAL and not kind & TRANSPARENT):
            return
        row -= 1


@kernel
def _start_table_part(stack: Stack, name: int, bits: int) -> None:
    table = find(stack, 0, TABLE, TEMPLATE)
    if table < 0:
        return  # outside a table these tags are ignored
    if bits & VOID:
        leaf(stack)
        return
    keep = table + 1
    if bits & (CELL | ROW):
        if keep < stack[COUNT, TOP] and stack[KIND, keep] & ROW_GROUP:
            keep += 1
        if bits & CELL and keep < stack[COUNT, TOP] and stack[KIND, keep] & ROW:
            keep += 1
    pop_to(stack, keep)
    if bits & (CELL | ROW) and keep == table + 1:
        push(stack, TBODY, ROW_GROUP | SPECIAL, -1)
    if bits & CELL and not stack[KIND, stack[COUNT, TOP] - 1] & ROW:
        push(stack, TR, ROW | SPECIAL, -1)
    if bits & (CELL | CAPTION):
        remember(stack, name, 0, MARK)
    push(stack, name, bits, -1)


@kernel
def end_tag(stack: Stack, name: int, bits: int) -> None:
    """An end tag."""
    row = stack[COUNT, TOP] - 1
    while row >= 0 and stack[KIND, row] & IN_FOREIGN:
        if stack[NAME, row] == name:
            pop_to(stack, row)
            return
        row -= 1
    if bits & IGNORED:
        return
    if bits & PARAGRAPH:
        place = find(stack, P, 0, BARRIER | BUTTON_BARRIER)
        if place < 0:
            leaf(stack)
        _close(stack, place)
    elif bits & BREAK:
        leaf(stack)
    elif bits & ITEM:
        _close(stack, find(stack, name, 0, BARRIER | (0 if bits & DEFINITION else LIST_BARRIER)))
    elif bits & HEADING:
        _close(stack, find(stack, 0, HEADING, BARRIER))
    elif bits & FORM:
        _end_form(stack, name)
    elif bits & FORMATTING:
        end_formatting(stack, name)
    elif bits & (TABLE | TABLE_PART):
        place = find(stack, name, 0, TEMPLATE | (0 if bits & TABLE else TABLE))
        _close(stack, place)
    elif bits & (ENDS_IN_SCOPE | TEMPLATE):
        place = find(stack, name, 0, 0 if bits & TEMPLATE else BARRIER)
        if place >= 0:
            pop_to(stack, place)
            if bits & (MARKER | TEMPLATE):
                forget_to_mark(stack)
    else:
        end_other(stack, name)


@kernel
def _end_form(stack: Stack, name: int) -> None:
    """Of a form only the element itself is closed, what is open in it stays."""
    place = find(stack, name, 0, BARRIER)
    if place >= 0:
        take_out(stack, place)
