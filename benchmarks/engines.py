"""Totals over what `auditor export` wrote, by engines for one machine and for many; all must come to the same.

python benchmarks/engines.py LAKE --by chip                        # DuckDB
python benchmarks/engines.py LAKE --by chip --on duckdb spark ray  # each of them, Spark and Ray in local mode

On a cluster Spark's session and Ray's `init` are the cluster's own; the rest stays as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.index.parquet import GROUPINGS, query, totals

if TYPE_CHECKING:
    from collections.abc import Sequence


def by_duckdb(lake: Path, by: str) -> dict[str, int]:
    """Executed operations by group, by DuckDB in this process."""
    return {total.key: total.executed_ops for total in totals(lake, by)}


def by_spark(lake: Path, by: str) -> dict[str, int]:
    """The same query by Spark's SQL. ANSI mode: a sum that does not fit is an error, and never NULL."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = session.config("spark.sql.ansi.enabled", "true").getOrCreate()
    try:
        spark.read.parquet(str(lake)).createOrReplaceTempView("operations")
        return {row[by]: int(row["executed_ops"]) for row in spark.sql(query(by, "operations")).collect()}
    finally:
        spark.stop()


def by_ray(lake: Path, by: str) -> dict[str, int]:
    """Each block added up where it lies, by Arrow, and the blocks' sums here: exact, as Python's integers are."""
    import ray

    def partly(block: Any) -> Any:
        return block.group_by(by).aggregate([("executed_ops", "sum")])

    ray.init(num_cpus=1, include_dashboard=False, ignore_reinit_error=True)
    try:
        blocks = ray.data.read_parquet(sorted(map(str, lake.glob("*.parquet")))).select_columns([by, "executed_ops"])
        found: dict[str, int] = {}
        for row in blocks.map_batches(partly, batch_format="pyarrow").take_all():
            found[row[by]] = found.get(row[by], 0) + int(row["executed_ops_sum"] or 0)
        return found
    finally:
        ray.shutdown()


ENGINES = {"duckdb": by_duckdb, "spark": by_spark, "ray": by_ray}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("lake", type=Path, help="what `auditor export --parquet` wrote")
    parser.add_argument("--by", choices=GROUPINGS, default="model")
    parser.add_argument("--on", choices=ENGINES, nargs="+", default=["duckdb"])
    arguments = parser.parse_args(argv)
    for name in arguments.on:
        print(name)
        for key, ops in sorted(ENGINES[name](arguments.lake, arguments.by).items(), key=lambda part: -part[1]):
            print(f"  {key or '(not named)'}: {ops}")


if __name__ == "__main__":
    main()
