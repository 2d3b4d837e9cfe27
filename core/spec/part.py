"""A component and its options, as one section of a spec names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import InstanceOf, PlainSerializer, WithJsonSchema

from ..protocols import Component, ComponentConfig, Kind


@dataclass(frozen=True)
class Part:
    """A component and its options. `metrics` are the metrics of an objective, in the order of its config."""

    in_words: ClassVar[str] = "an object that names a component"
    """The type of a section in error messages."""

    kind: Kind
    component: Component
    config: ComponentConfig
    metrics: tuple[Part, ...] = ()

    @property
    def name(self) -> str:
        """The component's registered name."""
        return self.component.name

    def to_json(self) -> dict[str, object]:
        """`{"name": ..., options}` as JSON values."""
        return {"name": self.name, **self.config.model_dump(mode="json")}

    def build(self, **given: object) -> Any:
        """Imports the class of the component, and builds it from the config and the keywords of its kind (`given`).

        A mapper takes `features` and `embed_dim`, a decoder or context `assets`, an objective `metrics`, the others
        nothing. The type of the result depends on the kind, hence Any. Errors of the class pass: a `ComponentError` where
        an option cannot be met.
        """
        return self.component.load()(self.config, **given)


PartField: TypeAlias = Annotated[
    InstanceOf[Part], PlainSerializer(Part.to_json), WithJsonSchema({"description": "A component."}, mode="validation")
]
"""The field of a section that names a component. `load_spec` inserts the `Part` before it validates the model."""
