-- The split, by time: everything before the last `window_days` days to train on,
-- those days up to `until` to evaluate on. Flights without a label are in neither.
COPY (
    FROM '${{ inputs.features }}'
    WHERE late IS NOT NULL
      AND sched_dep < TIMESTAMP '${{ params.until }}' - to_days(${{ params.window_days }})
    ORDER BY sched_dep, flight_id
) TO '${{ outputs.train }}' (FORMAT parquet, COMPRESSION zstd);

COPY (
    FROM '${{ inputs.features }}'
    WHERE late IS NOT NULL
      AND sched_dep >= TIMESTAMP '${{ params.until }}' - to_days(${{ params.window_days }})
      AND sched_dep < TIMESTAMP '${{ params.until }}'
    ORDER BY sched_dep, flight_id
) TO '${{ outputs.test }}' (FORMAT parquet, COMPRESSION zstd);
