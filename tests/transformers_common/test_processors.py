"""transformers' common tests over the processors of both families."""

import unittest
from unittest import mock

from transformers import BertTokenizer

from rsctir_hf.models.cmpagl import CMPAGLProcessor
from rsctir_hf.models.galr import GaLRProcessor, build_word_tokenizer
from tests.models.tiny_cmpagl import SPECIAL
from tests.transformers_common.suite import load

common = load("test_processing_common")

WORDS = ("lower", "newer", "upper", "older", "longer", "string")


class DualEncoderProcessorTests(common.ProcessorTesterMixin):
    """With the image processor that ``build`` makes, for 32 px."""

    @classmethod
    def setUpClass(cls):
        # As merged into transformers, a processor names no module of its own in the files.
        cls.enterClassContext(mock.patch.object(cls.processor_class, "_auto_class", None))
        super().setUpClass()

    def test_subprocessor_defaults_preserved_by_kwargs_0_images(self):
        self.skipTest(
            "gives the tokenizer a max_length when it is loaded; our processors drop that one, "
            "since many a tokenizer.json holds one that is shorter than model_max_length"
        )

    @classmethod
    def _setup_image_processor(cls):
        return cls.processor_class.build(cls._setup_tokenizer(), image_size=32).image_processor


class CMPAGLProcessorTest(DualEncoderProcessorTests, unittest.TestCase):
    processor_class = CMPAGLProcessor

    @classmethod
    def _setup_tokenizer(cls):
        vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
        return BertTokenizer(vocab=vocabulary, model_max_length=200)


class GaLRProcessorTest(DualEncoderProcessorTests, unittest.TestCase):
    processor_class = GaLRProcessor

    @classmethod
    def _setup_tokenizer(cls):
        return build_word_tokenizer(WORDS, model_max_length=200)
