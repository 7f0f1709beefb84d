"""What the attribute loss wants of each training crop: its attributes, and how much each of them counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from omnireid.attributes.fitting import balance_weights, find_learnable
from omnireid.data.attribute_sources import check_same_people, read_attributes
from omnireid.data.attributes import Attributes
from omnireid.data.datasets import load_dataset
from omnireid.data.training_data import TrainingData
from omnireid.errors import DataError, RecipeError
from omnireid.training.options import RunOptions
from omnireid.training.recipes import Recipe
from omnireid.types import Crops, FloatArray


@dataclass(frozen=True, eq=False)
class AttributeTargets:
    """The attributes of N training crops.

    Attributes:
        names: Names of the K attributes.
        targets: (N, 2, K) float32: [:, 0] is 1 where the crop has the attribute, else 0; [:, 1] is the weight of the
            crop in the attribute's loss, 0 for a crop without known attributes.
    """

    names: tuple[str, ...]
    targets: FloatArray

    @property
    def count(self) -> int:
        """Number of attributes, K."""
        return len(self.names)

    @property
    def facts(self) -> dict[str, str]:
        """SHA-256 over names and targets, for what a resumed run must agree in."""
        content = "\n".join(self.names).encode() + self.targets.tobytes()
        return {"attributes": hashlib.sha256(content).hexdigest()}


def find_attribute_targets(recipe: Recipe, options: RunOptions, data: TrainingData) -> AttributeTargets | None:
    """Read the attributes of a run's training crops; None where the recipe has no attribute loss.

    Attributes of people are those of the first data set's people. Crops of other data sets, and crops whose
    attributes are not known, have weight 0.

    Raises:
        RecipeError: Attributes that no loss uses, a loss without attributes, or a task without people.
        DataError: No training crop has attributes, or all agree in every attribute.
    """
    if options.attributes is None:
        if recipe.attribute_weight:
            raise RecipeError("--attribute-weight needs attributes: name their file or folder with --attributes.")
        return None
    if not recipe.attribute_weight:
        raise RecipeError(f"The attributes in {options.attributes} would not be used: set --attribute-weight above 0.")
    if recipe.task == "classify":
        raise RecipeError("--attribute-weight fits crops of people only. Leave it out with --task classify.")
    attributes = read_attributes(options.attributes)
    picked = attributes.pick(_training_crops(attributes, options, data))
    learnable = find_learnable(picked.values, picked.names, attributes.name)
    names = tuple(name for name, kept in zip(picked.names, learnable, strict=True) if kept)
    values = picked.values[:, learnable]
    row_of = {path: row for row, path in enumerate(data.paths)}
    rows = [row_of[path] for path in picked.crops.paths]
    targets = np.zeros((len(data), 2, len(names)), dtype=np.float32)
    targets[rows, 0] = values
    targets[rows, 1] = balance_weights(values)
    return AttributeTargets(names, targets)


def _training_crops(attributes: Attributes, options: RunOptions, data: TrainingData) -> Crops:
    """The training crops with the ids under which attributes know their people.

    `TrainingData` numbers people anew, so the data set is read once more where attributes go by person.
    """
    if attributes.crops is not None:
        return Crops(data.paths)
    dataset = load_dataset(options.data[0], options.layout, split=options.split_index, seed=0)
    check_same_people(attributes, dataset)
    person_of = {
        path: person
        for split in dataset.splits.values()
        for path, person in zip(split.paths, split.person_ids.tolist(), strict=True)
    }
    known = [path for path in data.paths if path in person_of]
    if not known:
        raise DataError(f"No training crop is one of {dataset.name}, whose people's attributes were given.")
    return Crops(tuple(known), np.array([person_of[path] for path in known], dtype=np.int64))
