-- The traffic of a replay: the flights from `start` on, as they would be asked
-- about at scheduled departure, and the truth with the time at which it is known.
-- Cancelled and diverted flights are asked about too; their truth never comes.
COPY (
    SELECT *, CASE WHEN late IS NOT NULL THEN sched_dep + INTERVAL 2 DAY END AS truth_time
    FROM '${{ inputs.features }}'
    WHERE sched_dep >= TIMESTAMP '${{ params.start }}'
    ORDER BY sched_dep, flight_id
) TO '${{ outputs.requests }}' (FORMAT parquet, COMPRESSION zstd);
