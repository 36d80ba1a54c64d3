"""Numbers as a reader wants them."""

import math


def significant(value: float, digits: int = 3) -> str:
    """Write a number with some significant digits, without an exponent where that is readable.

    >>> significant(1234.5), significant(0.012345), significant(80.0), significant(1.2e-7)
    ('1,234', '0.0123', '80', '1.2e-07')
    """
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -4 <= magnitude < 9:
        return f"{value:.{digits}g}"
    return _trim(f"{value:,.{max(0, digits - 1 - magnitude)}f}")


def with_error(value: float, error: float) -> str:
    """Write a number and its standard error, rounded to the error's second digit.

    >>> with_error(1.23456, 0.0123), with_error(1.23456, float("nan")), with_error(-1234.6, 31.0)
    ('1.235 ± 0.012', '1.235', '−1,235 ± 31')
    """
    if not math.isfinite(value):
        return "not finite"
    if not (math.isfinite(error) and error > 0):
        return _minus(f"{value:,.3f}" if abs(value) < 100 else f"{value:,.1f}")
    decimals = max(0, 1 - math.floor(math.log10(float(f"{error:.1e}"))))
    return _minus(f"{value:,.{decimals}f} ± {error:,.{decimals}f}")


def percent(share: float, error: float = float("nan")) -> str:
    """Write a share in percent.

    >>> percent(0.9312), percent(0.9312, 0.021)
    ('93.1 %', '93.1 ± 2.1 %')
    """
    return f"{100 * share:.1f} ± {100 * error:.1f} %" if math.isfinite(error) else f"{100 * share:.1f} %"


def seconds(value: float) -> str:
    """Write a duration.

    >>> seconds(0.042), seconds(9.26), seconds(75.0), seconds(3725.0)
    ('0.04 s', '9.3 s', '1 min 15 s', '1 h 2 min')
    """
    if value < 59.95:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plural(count: int, noun: str) -> str:
    """Write a number of things.

    >>> plural(1, "example"), plural(1200, "example")
    ('1 example', '1,200 examples')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _trim(number: str) -> str:
    return _minus(number.rstrip("0").rstrip(".") if "." in number else number)


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}", 1) if number.startswith("-") else number
