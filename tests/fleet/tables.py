"""How a row of the tables becomes an inventory: one company and what it has, in the format that users write."""

from __future__ import annotations

import csv
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((HERE / name).read_text(encoding="utf-8").splitlines()))


def inventory(row: dict[str, str]) -> str:
    """``before`` holds earlier shipments, "LPP 26900000 2026-03-01 IN": what they went under (- for not stated), their
    TPP, day and country; ``asked`` is the shipment in question. Each is one chip of so much TPP for data centres."""
    shipments = [_earlier(number, text) for number, text in enumerate(_listed(row["before"]))]
    if row.get("tpp"):
        shipments.append(_asked(row))
    countries = {shipment["country"] for shipment in shipments} | {row["destination"]}
    whole = {
        "schema": "auditor.fleet/1",
        "companies": [_company(row)],
        "sites": [{"id": country, "country": country, "owner": "firm"} for country in sorted(countries)],
        "chips": [one for shipment in shipments if (one := shipment.pop("figures"))],
        "shipments": [{k: v for k, v in one.items() if k != "country" and v} for one in shipments],
        "licensed_elsewhere": [
            {"country": country, "tpp": tpp, "source": "the table"}
            for country, tpp in (text.split() for text in _listed(row.get("licensed elsewhere", "")))
        ],
    }
    return json.dumps(whole)


def _listed(text: str) -> list[str]:
    return [part for part in text.split("; ") if part]


def _company(row: dict[str, str]) -> dict[str, object]:
    holds = []
    for text in _listed(row["holds"]):
        kind, *rest = text.split()
        country = {"country": rest.pop(0)} if kind == "NVEU" else {}
        holds.append({"kind": kind, **country, "since": rest[0] if rest else "2025-01-13"})
    own = row["parent"] == row["headquarters"]
    return {
        "id": "firm",
        "headquarters": row["headquarters"],
        "parent": "firm" if own else "above",
        "parent_headquarters": row["parent"],
        "complete": row.get("complete") or "group",
        "authorisations": holds,
        **dict(text.split("=") for text in _listed(row.get("answers", ""))),
    }


def _figures(name: str, tpp: str, row: dict[str, str]) -> dict[str, str]:
    return {
        "id": name,
        "tpp": tpp,
        "data_centre": row.get("data centre") or "true",
        "source": "the table",
        **({"performance_density": row["density"]} if row.get("density") else {}),
        **({"memory_gb_per_s": row["memory"]} if row.get("memory") else {}),
        **({"link_gb_per_s": row["link"]} if row.get("link") else {}),
    }


def _earlier(number: int, text: str) -> dict[str, object]:
    under, tpp, day, country, *gone = text.split()
    name = f"earlier-{number}"
    return {
        "id": name,
        "site": country,
        "country": country,
        "chip": f"of-{name}",
        "figures": _figures(f"of-{name}", tpp, {}),
        "count": "1",
        "date": day,
        "gone": gone[0] if gone else "",
        "under": "" if under == "-" else under,
        "from": "TW",
    }


def _asked(row: dict[str, str]) -> dict[str, object]:
    unknown = row["tpp"] == "unknown"
    return {
        "id": "asked",
        "site": row["destination"],
        "country": row["destination"],
        "chip": "unknown" if unknown else "asked-for",
        "figures": None if unknown else _figures("asked-for", row["tpp"], row),
        "count": "1",
        "date": row["day"],
        "gone": "",
        "under": row.get("under", ""),
        "from": row["from"],
    }
