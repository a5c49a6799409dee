from segzoo.testing import ModelConformance


class TestTiny(ModelConformance):
    model = "segzoo-tiny/tiny"
