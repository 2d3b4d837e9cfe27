"""The base class of all options that users build in Python: those of components, and those of generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import SpecError
from .problems import from_pydantic


class Options(BaseModel):
    """A frozen model of options; unknown keys are errors.

    `Model(option=value)` raises `SpecError` with every problem, in the words that a spec with this value gets. Pydantic's
    own methods (`model_validate`, ...) raise its `ValidationError`, from which the engine makes those words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if not TYPE_CHECKING:  # type checkers and editors take the keywords of a subclass from its fields

        def __init__(self, /, **values: object) -> None:
            try:
                super().__init__(**values)
            except ValidationError as err:
                problems = from_pydantic(err, values, type(self))
                raise SpecError(problems, source=type(self).__name__) from None  # pydantic's words add nothing

        # Tells pydantic, as its own classes do, that validation may build an instance without this method.
        __init__.__pydantic_base_init__ = True
