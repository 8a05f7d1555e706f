-- A split that does not depend on the order of the rows: by a hash of each flower's number.
CREATE TEMP TABLE flower AS
SELECT flower, sepal_length, sepal_width, petal_length, petal_width,
       (species = 'virginica')::INTEGER AS virginica,
       (flower * 2654435761) % 1000 / 1000.0 AS draw
FROM read_csv('${{ inputs.iris }}', header = true);

COPY (SELECT * EXCLUDE (draw) FROM flower WHERE draw >= ${{ params.test_share }} ORDER BY flower)
TO '${{ outputs.train }}' (FORMAT parquet);

COPY (SELECT * EXCLUDE (draw) FROM flower WHERE draw < ${{ params.test_share }} ORDER BY flower)
TO '${{ outputs.test }}' (FORMAT parquet);
