-- The last `window_days` days before `until` evaluate, the `train_days` before them train.
CREATE TEMP TABLE event AS
SELECT event, "at", x::FLOAT AS x, y::FLOAT AS y, z::FLOAT AS z, hit
FROM read_csv('${{ inputs.events }}/*.csv', header = true)
WHERE "at" < TIMESTAMP '${{ params.until }}'
ORDER BY event;

COPY (
    FROM event
    WHERE "at" < TIMESTAMP '${{ params.until }}' - to_days(${{ params.window_days }})
      AND "at" >= TIMESTAMP '${{ params.until }}' - to_days(${{ params.window_days }} + ${{ params.train_days }})
    ORDER BY event
) TO '${{ outputs.train }}' (FORMAT csv, HEADER);

COPY (
    FROM event
    WHERE "at" >= TIMESTAMP '${{ params.until }}' - to_days(${{ params.window_days }})
    ORDER BY event
) TO '${{ outputs.test }}' (FORMAT csv, HEADER);
