"""The metrics of coco-caption: BLEU, ROUGE-L and CIDEr without Java, METEOR and SPICE with it."""

from __future__ import annotations

from pydantic import Field

from ....core.protocols import Component, InputFile, InputFolder, MetricConfig, hookimpl


class BleuConfig(MetricConfig):
    """Options of metric "bleu": none."""

    def score_names(self) -> tuple[str, ...]:
        """BLEU-n: BLEU with n-grams of up to n words."""
        return ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")


class RougeLConfig(MetricConfig):
    """Options of metric "rouge-l": none."""

    def score_names(self) -> tuple[str, ...]:
        """ROUGE-L."""
        return ("ROUGE-L",)


class CiderConfig(MetricConfig):
    """Options of metric "cider"."""

    document_frequencies: InputFile | None = Field(
        None,
        description="File written by `capfw score --write-document-frequencies`: the number of images whose references "
        "have each n-gram. Absent: counted in the references of the scored images, as in coco-caption.",
    )

    def score_names(self) -> tuple[str, ...]:
        """CIDEr-D as coco-caption scales it: 1.2 is ordinary."""
        return ("CIDEr",)


class _JavaConfig(MetricConfig):
    """Options of the metrics that run a Java program."""

    java: str = Field("java", min_length=1, description="Java program: a name on the PATH, or a path.")
    timeout_seconds: float = Field(3600.0, gt=0, description="Scoring fails after this many seconds.")
    max_memory_gb: int = Field(2, ge=1, description="Maximum heap memory of Java, in GiB.")

    def needs(self) -> tuple[str, ...]:
        """A Java program."""
        return ("Java",)

    def programs(self) -> tuple[str, ...]:
        """The Java program that the options name in place of the usual one."""
        return () if self.java == "java" else (self.java,)


class MeteorConfig(_JavaConfig):
    """Options of metric "meteor"."""

    def score_names(self) -> tuple[str, ...]:
        """METEOR."""
        return ("METEOR",)


class SpiceConfig(_JavaConfig):
    """Options of metric "spice"."""

    max_memory_gb: int = Field(8, ge=1, description="Maximum heap memory of Java, in GiB.")
    corenlp_folder: InputFolder | None = Field(
        None,
        description="Folder with stanford-corenlp-3.6.0.jar and stanford-corenlp-3.6.0-models.jar. "
        "Absent: the `spice/lib` folder of the installed pycocoevalcap.",
    )

    def programs(self) -> tuple[str, ...]:
        """Also the jars in `corenlp_folder`."""
        return (*super().programs(), *([f"the jars in {self.corenlp_folder}"] if self.corenlp_folder else []))

    def score_names(self) -> tuple[str, ...]:
        """SPICE."""
        return ("SPICE",)


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "bleu", "rouge-l", "cider", "meteor" and "spice"."""
    return [
        Component(
            name="bleu",
            config=BleuConfig,
            target=f"{__name__}.model:Bleu",
            summary="BLEU-1 to BLEU-4: n-gram precision with a brevity penalty.",
            example=BleuConfig(),
            is_recommended=True,
            source='Papineni et al., 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation"',
        ),
        Component(
            name="rouge-l",
            config=RougeLConfig,
            target=f"{__name__}.model:RougeL",
            summary="ROUGE-L: F-measure of the longest common subsequence (beta 1.2).",
            example=RougeLConfig(),
            is_recommended=True,
            source='Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"',
        ),
        Component(
            name="cider",
            config=CiderConfig,
            target=f"{__name__}.model:Cider",
            summary="CIDEr-D: agreement with the references; rare n-grams count more.",
            example=CiderConfig(),
            is_recommended=True,
            source='Vedantam et al., 2015, "CIDEr: Consensus-based Image Description Evaluation", arXiv 1411.5726',
        ),
        Component(
            name="meteor",
            config=MeteorConfig,
            target=f"{__name__}.meteor:Meteor",
            summary="METEOR 1.5: alignment with stems, synonyms and paraphrases. Runs Java.",
            example=MeteorConfig(),
            source='Denkowski and Lavie, 2014, "Meteor Universal"',
        ),
        Component(
            name="spice",
            config=SpiceConfig,
            target=f"{__name__}.spice:Spice",
            summary="SPICE: agreement of scene graphs. Runs Java 8 to 14 and needs Stanford CoreNLP 3.6.0.",
            example=SpiceConfig(),
            source='Anderson et al., 2016, "SPICE: Semantic Propositional Image Caption Evaluation", arXiv 1607.08822',
        ),
    ]
