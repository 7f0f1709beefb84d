"""Read a pickle without running it.

Python's unpickler calls what a file tells it to call. This one calls nothing: it
is a small stack machine that knows containers, numbers, text and torch's
tensors. Any other name in the pickle is written down, and whoever reads the
file refuses it with the list.

Everything is bounded by the size of the file: no opcode here allocates more
than the bytes it is read from.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

from omnireid.weights.stored_tensor import Storage, StoredTensor
from omnireid.weights.torch_names import LEFT_OUT, KnownFunction, find_name, set_item

MOST_OPERATIONS = 2_000_000
"""Longest pickle that is read, in operations. The state of an OSNet takes about ten thousand."""

_OPCODES = MappingProxyType({opcode.code: opcode for opcode in pickletools.opcodes})
_LONGEST_NAME = 200
_MOST_NAMES = 100

FindStorage = Callable[[tuple[Any, ...]], Storage]
"""Finds the storage that a pickle refers to by torch's persistent id."""


class PickleFormatError(ValueError):
    """Bytes that are not a whole pickle, or that use an operation no checkpoint needs."""


@dataclass(frozen=True)
class Pickle:
    """What a pickle holds.

    Attributes:
        content: Dicts, lists, tuples, numbers, text and `StoredTensor`; `LEFT_OUT` in the place of all else.
        unknown_names: Every name it asks for that is neither a container nor a tensor, in order.
    """

    content: object
    unknown_names: tuple[str, ...]


def read_pickle(stream: BytesIO, find_storage: FindStorage | None = None) -> Pickle:
    """Read one pickle and leave the stream behind its end.

    Args:
        stream: The bytes, from where the pickle starts.
        find_storage: Finds the storages that its tensors are views of; None refuses a pickle that has any.

    Raises:
        PickleFormatError: The bytes are no whole pickle, or one with an operation or arguments that no checkpoint has.
    """
    machine = _Machine(find_storage)
    try:
        content = machine.run(stream)
    except PickleFormatError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Also what pickletools raises on arguments that are cut off or malformed.
        raise PickleFormatError(f"{type(error).__name__}: {error}"[:200]) from error
    return Pickle(content, tuple(machine.unknown_names))


class _Machine:
    """The stack machine: what Python's unpickler does, for the operations and names that checkpoints use."""

    def __init__(self, find_storage: FindStorage | None) -> None:
        self.unknown_names: dict[str, None] = {}
        self._find_storage = find_storage
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._left = MOST_OPERATIONS

    def run(self, stream: BytesIO) -> object:
        """Interpret the operations up to the end of the pickle."""
        while True:
            self._spend(1)
            code = stream.read(1)
            opcode = _OPCODES.get(code.decode("latin-1"))
            if opcode is None:
                raise PickleFormatError("it ends too soon" if not code else f"{code!r} is no operation of a pickle")
            if opcode.name == "STOP":
                return self._pop()
            handler = _HANDLERS.get(opcode.name)
            if handler is None:
                raise PickleFormatError(f"the operation {opcode.name} has no place in a checkpoint")
            handler(self, _read_argument(opcode, stream))

    def _spend(self, operations: int) -> None:
        """Count what a call costs: one short call could otherwise copy one long list again and again."""
        self._left -= operations
        if self._left < 0:
            raise PickleFormatError(f"it has more than {MOST_OPERATIONS:,} operations; weights need a few thousand")

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise PickleFormatError("it takes a value that is not there")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def ignore(self, _argument: object) -> None:
        """Operations that say nothing of the content: the protocol's number and frames."""

    def push(self, value: object) -> None:
        """Put a value on the stack; most operations are that."""
        self._stack.append(value)

    def mark(self, _argument: object) -> None:
        self._marks.append(len(self._stack))

    def pop(self, _argument: object) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def pop_mark(self, _argument: object) -> None:
        self._pop_to_mark()

    def duplicate(self, _argument: object) -> None:
        self._stack.append(self._stack[-1])

    def append(self, _argument: object) -> None:
        value = self._pop()
        self._extend([value])

    def appends(self, _argument: object) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif target is not LEFT_OUT:
            raise PickleFormatError("it appends to what is not a list")

    def set_item(self, _argument: object) -> None:
        value = self._pop()
        key = self._pop()
        self._set_items([key, value])

    def set_items(self, _argument: object) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if len(values) % 2:
            raise PickleFormatError("it has a key without a value")
        if isinstance(target, dict):
            for key, value in zip(values[::2], values[1::2], strict=True):
                set_item(target, key, value)
        elif target is not LEFT_OUT:
            raise PickleFormatError("it sets entries of what is not a dict")

    def add_items(self, _argument: object) -> None:
        self._pop_to_mark()
        if self._stack[-1] is not LEFT_OUT:
            raise PickleFormatError("it adds to what is not a set")

    def left_out_of_mark(self, _argument: object) -> None:
        self._pop_to_mark()
        self._stack.append(LEFT_OUT)

    def make_list(self, _argument: object) -> None:
        self._stack.append(self._pop_to_mark())

    def make_tuple(self, _argument: object) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def push_tuple(self, length: int) -> None:
        values = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(values)))

    def make_dict(self, _argument: object) -> None:
        values = self._pop_to_mark()
        self._stack.append({})
        self._set_items(values)

    def recall(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def remember_next(self, _argument: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def find_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._find(module, name))

    def find_stacked_global(self, _argument: object) -> None:
        name = self._pop()
        module = self._pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise PickleFormatError("a name that is not text")
        self._stack.append(self._find(module, name))

    def _find(self, module: str, name: str) -> object:
        full = f"{module}.{name}"
        if len(full) > _LONGEST_NAME:
            raise PickleFormatError(f"a name of {len(full):,} letters")
        found = find_name(full)
        if found is not None:
            return found
        if len(self.unknown_names) < _MOST_NAMES:
            self.unknown_names[full] = None
        return LEFT_OUT

    def call(self, _argument: object) -> None:
        arguments = self._pop()
        function = self._pop()
        if not isinstance(arguments, tuple):
            raise PickleFormatError("a call without arguments")
        if isinstance(function, KnownFunction):
            self._spend(sum(len(part) for part in arguments if isinstance(part, (list, tuple))))
            self._stack.append(function.build(*arguments))
        elif function is LEFT_OUT:
            self._stack.append(LEFT_OUT)
        else:
            raise PickleFormatError("it calls what is not a function")

    def call_with_keywords(self, argument: object) -> None:
        self._pop()
        self.call(argument)

    def make_instance(self, argument: str) -> None:
        self.find_global(argument)
        self._stack.pop()
        self.left_out_of_mark(None)

    def build(self, _argument: object) -> None:
        """Leave the state of an object out: an OrderedDict's ``_metadata``, say."""
        self._pop()
        if not isinstance(self._stack[-1], (dict, StoredTensor)) and self._stack[-1] is not LEFT_OUT:
            raise PickleFormatError("it sets the state of what has none")

    def find_persistent(self, _argument: object) -> None:
        identity = self._pop()
        if self._find_storage is None or not isinstance(identity, tuple):
            raise PickleFormatError("a reference to something outside the pickle")
        self._stack.append(self._find_storage(identity))


def _read_argument(opcode: pickletools.OpcodeInfo, stream: BytesIO) -> Any:
    """Read what follows an operation's code."""
    if opcode.name in ("GLOBAL", "INST"):
        return f"{_read_line(stream)} {_read_line(stream)}"
    if opcode.name == "STRING":
        text = _read_line(stream)
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"" or "\\" in text:
            raise PickleFormatError("text in another form than torch writes")
        return text[1:-1]
    return None if opcode.arg is None else opcode.arg.reader(stream)


def _read_line(stream: BytesIO) -> str:
    """Read text up to the end of its line. pickletools would interpret escapes in it, with warnings."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise PickleFormatError("it ends within a name")
    return line[:-1].decode("utf-8")


def _push_new(make: Callable[[], object]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _argument: machine.push(make())


def _push_tuple(length: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _argument: machine.push_tuple(length)


_VALUES = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_HANDLERS: Mapping[str, Callable[[_Machine, Any], None]] = MappingProxyType(
    {
        **dict.fromkeys(("PROTO", "FRAME"), _Machine.ignore),
        **dict.fromkeys(_VALUES, _Machine.push),
        "NONE": _push_new(lambda: None),
        "NEWTRUE": _push_new(lambda: True),
        "NEWFALSE": _push_new(lambda: False),
        "EMPTY_LIST": _push_new(list),
        "EMPTY_DICT": _push_new(dict),
        "EMPTY_TUPLE": _push_new(tuple),
        "EMPTY_SET": _push_new(lambda: LEFT_OUT),
        "MARK": _Machine.mark,
        "POP": _Machine.pop,
        "POP_MARK": _Machine.pop_mark,
        "DUP": _Machine.duplicate,
        "APPEND": _Machine.append,
        "APPENDS": _Machine.appends,
        "LIST": _Machine.make_list,
        "TUPLE": _Machine.make_tuple,
        "TUPLE1": _push_tuple(1),
        "TUPLE2": _push_tuple(2),
        "TUPLE3": _push_tuple(3),
        "DICT": _Machine.make_dict,
        "SETITEM": _Machine.set_item,
        "SETITEMS": _Machine.set_items,
        "ADDITEMS": _Machine.add_items,
        **dict.fromkeys(("FROZENSET", "OBJ"), _Machine.left_out_of_mark),
        **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
        **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.remember),
        "MEMOIZE": _Machine.remember_next,
        "GLOBAL": _Machine.find_global,
        "STACK_GLOBAL": _Machine.find_stacked_global,
        "INST": _Machine.make_instance,
        **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
        "NEWOBJ_EX": _Machine.call_with_keywords,
        "BUILD": _Machine.build,
        "BINPERSID": _Machine.find_persistent,
    }
)
