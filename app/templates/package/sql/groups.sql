COPY (
    SELECT "${{ params.by }}" AS value, count(*) AS rows, avg("${{ params.number }}") AS mean
    FROM '${{ inputs.rows }}'
    GROUP BY ALL
    ORDER BY ALL
) TO '${{ outputs.groups }}';
