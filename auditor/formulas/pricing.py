"""From a tally to operations: each signature is priced once; what goes wrong is named."""

from __future__ import annotations

from dataclasses import dataclass, field

from auditor.errors import FormulaError
from auditor.formulas import schemas
from auditor.formulas.registry import TABLE, Formula, Registry
from auditor.formulas.sizes import shapes
from auditor.operations import MATRIX_FAMILIES, Amount, Bucket, Family, Operations
from auditor.tally import Argument, Phase, Signature, Tally, decode_arguments

_NO_AMOUNT = 10**48  # of one call: no ledger takes more digits than the sum of such ones can have
_MOST_PRICES = 1 << 16  # kept; signatures may go on changing for months
_FLOATING = ("float", "bfloat", "complex")


@dataclass(frozen=True, slots=True)
class Price:
    """What one call costs; ``amount`` is None where that is not known, and ``problem`` says why.

    beside: what the call costs in other families than its own.
    """

    family: Family
    precision: str
    amount: Amount | None
    problem: str = ""
    beside: tuple[tuple[Family, Amount], ...] = ()

    @property
    def parts(self) -> tuple[tuple[Family, Amount], ...]:
        """The amounts by family, those that are not zero; nothing where the price is not known."""
        own = () if self.amount is None else ((self.family, self.amount),)
        return tuple((family, amount) for family, amount in (*own, *self.beside) if any(amount))


@dataclass(slots=True)
class Pricer:
    """Prices tallies with one table. ``problems``: operator to what its formula did wrong."""

    registry: Registry = TABLE
    problems: dict[str, str] = field(default_factory=dict)
    _prices: dict[Signature, Price] = field(default_factory=dict)
    _revision: int = -1

    def price(self, tally: Tally) -> Operations:
        """The operations of a tally; operators without a usable formula are ``unpriced``, with calls."""
        amounts: dict[Bucket, Amount] = {}
        unpriced: dict[str, int] = {}
        for (signature, phase, purpose), calls in tally.items():
            price = self.of(signature)
            if price.amount is None:
                unpriced[signature.op] = unpriced.get(signature.op, 0) + calls
            for family, amount in price.parts:
                bucket = Bucket(phase, _family(family, phase), price.precision, purpose)
                amounts[bucket] = amounts.get(bucket, Amount()).plus(amount, calls)
        return Operations(amounts, unpriced)

    def of(self, signature: Signature) -> Price:
        """The price of one call; worked out at its first use, and again when a formula has been registered since."""
        if self._revision != self.registry.revision or len(self._prices) >= _MOST_PRICES:
            self._prices.clear()
            self._revision = self.registry.revision
        price = self._prices.get(signature)
        if price is None:
            price = self._prices[signature] = self._work_out(signature)
        return price

    def _work_out(self, signature: Signature) -> Price:
        dense = self.registry.find(signature.op)
        formula = dense or self.registry.find_sparse(signature.op)
        if formula is None:
            return Price(Family.OTHER, "", None, "no formula")
        try:
            arguments = decode_arguments(signature.arguments)
            formula = self._for_layouts(signature.op, formula, arguments)
            if formula.function is not None:
                schemas.check(signature.op, formula.op, arguments)
            amount = _apply(formula, arguments)
            others = self.registry.beside_of(formula) if formula is dense else ()
            beside = tuple((each.family, _apply(each, arguments)) for each in others)
            return Price(formula.family, _precision(arguments), amount, beside=beside)
        except Exception as error:  # noqa: BLE001 - a formula may be anybody's code, and must not stop the count
            problem = f"{type(error).__name__}: {error}"
            self.problems[signature.op] = f"{problem} for {signature.arguments}"
            return Price(formula.family, "", None, problem)

    def _for_layouts(self, op: str, formula: Formula, arguments: tuple[Argument, ...]) -> Formula:
        """The formula for the layouts of these arguments; what costs nothing costs nothing in any layout."""
        layouts = sorted({shape.layout for shape in shapes(arguments) if shape.layout})
        if not layouts or formula.function is None:
            return formula
        sparse = self.registry.find_sparse(op)
        if sparse is None or "unknown" in layouts:
            raise FormulaError(f"no formula for {', '.join(layouts)}: the sizes do not tell how many elements it has")
        return sparse


def _apply(formula: Formula, arguments: tuple[Argument, ...]) -> Amount:
    if formula.function is None:
        return Amount()
    answer = formula.function(*arguments)
    amount = answer if isinstance(answer, Amount) else Amount(answer)
    if not all(type(number) is int and 0 <= number < _NO_AMOUNT for number in amount):
        raise FormulaError(f"the formula for {formula.op} answered {answer!r}, not a whole amount of operations")
    return amount


def _family(family: Family, phase: Phase) -> Family:
    """What the optimizer phase does besides products is the optimizer's, however it is implemented."""
    return Family.OPTIMIZER if phase is Phase.OPTIMIZER and family not in MATRIX_FAMILIES else family


def _precision(arguments: tuple[Argument, ...]) -> str:
    """The element type of the first floating tensor among the arguments, else of the first tensor."""
    dtypes = [shape.dtype for shape in shapes(arguments)]
    return next((dtype for dtype in dtypes if dtype.startswith(_FLOATING)), dtypes[0] if dtypes else "none")
