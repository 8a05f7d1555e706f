-- What is asked from `start` on, and the truth with the time at which it is known.
COPY (
    SELECT event, "at", x::FLOAT AS x, y::FLOAT AS y, z::FLOAT AS z, hit,
           "at" + INTERVAL 36 HOUR AS truth_time
    FROM read_csv('${{ inputs.traffic }}', header = true)
    WHERE "at" >= TIMESTAMP '${{ params.start }}'
    ORDER BY event
) TO '${{ outputs.requests }}' (FORMAT parquet);
