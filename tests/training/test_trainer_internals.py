"""transformers still has the private methods that we override, and we override no others."""

import inspect

import pytest
from transformers import Trainer

from rsctir_hf.detection.detector_trainer import DetectorTrainer
from rsctir_hf.training import trainer_internals
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.staged import StagedTrainer
from rsctir_hf.training.trainer_internals import SavingTrainer

PARAMETERS = {
    "_save_checkpoint": ["self", "model", "trial"],
    "_save": ["self", "output_dir", "state_dict"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
    "_load_best_model": ["self"],
    "_get_output_dir": ["self", "trial"],
}


def private_overrides(kind):
    return {
        name
        for name in vars(kind)
        if name.startswith("_") and not name.startswith("__") and hasattr(Trainer, name)
    }


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_override_takes_what_the_method_of_transformers_takes(name):
    for kind in (Trainer, SavingTrainer):
        assert list(inspect.signature(getattr(kind, name)).parameters) == PARAMETERS[name]


def test_saving_can_still_be_told_from_a_save_that_pushes():
    assert "_internal_call" in inspect.signature(Trainer.save_model).parameters


def test_all_private_overrides_stand_in_one_module_and_in_its_table():
    assert private_overrides(SavingTrainer) == set(PARAMETERS)
    for kind in (StagedTrainer, RetrievalTrainer, DetectorTrainer):
        assert not private_overrides(kind)
    assert all(f"``{name}``" in trainer_internals.__doc__ for name in PARAMETERS)
