import pytest

from explorer import numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.0000038, "3.80\u00a0×\u00a010⁻⁶"),
        (-0.0000038, "\u22123.80\u00a0×\u00a010⁻⁶"),
        (0.000123456, "0.000123"),
        (1.0, "1"),
        (-1.256, "\u22121.26"),
        (999.4, "999"),
        (1234.5, "1,234"),
        (123_456_789, "123,456,789"),
        (1.5e12, "1.50\u00a0×\u00a010¹²"),
        (None, "–"),
        (float("inf"), "inf"),
    ],
)
def test_three_digits_and_never_nothing(number: float | None, text: str) -> None:
    assert numbers.significant(number) == text


def test_shares_and_counts() -> None:
    assert (numbers.percent(0.97812), numbers.percent(None)) == ("97.8\u00a0%", "–")
    assert numbers.count(1_048_576) == "1,048,576"
