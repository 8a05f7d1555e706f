-- What is known about each flight at its scheduled departure, and nothing else.
--
-- One row for each flight in the folder `flights`. Rows do not depend on later
-- flights: adding months adds rows and changes none. Times are New York wall
-- clock, in which all three airports work; only the weather is joined in UTC.
--
-- Whole numbers are summed and divided once at the end, and everything written
-- is ordered, so the same input gives the same bytes.

CREATE TEMP TABLE flight AS
SELECT
    concat_ws('-', carrier, flight, origin, strftime(sched_dep, '%Y%m%dT%H%M')) AS flight_id,
    sched_dep,
    sched_dep::DATE AS day,
    strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ') AS hour_utc,
    carrier, origin, dest, tailnum, distance, dep_delay,
    -- the only column that decides when the rest of the traffic learns of this flight
    sched_dep + to_minutes(dep_delay) AS actual_dep,
    -- no label where the flight was cancelled or diverted
    CASE WHEN arr_delay IS NOT NULL THEN (arr_delay > 15)::INTEGER END AS late,
    arr_delay - dep_delay AS gain
FROM (
    SELECT *, make_timestamp(year, month, day, hour, minute, 0) AS sched_dep
    FROM read_csv('${{ inputs.flights }}/*.csv', header = true, nullstr = 'NA', columns = {
        'year': 'INTEGER', 'month': 'INTEGER', 'day': 'INTEGER', 'dep_time': 'INTEGER',
        'sched_dep_time': 'INTEGER', 'dep_delay': 'INTEGER', 'arr_time': 'INTEGER',
        'sched_arr_time': 'INTEGER', 'arr_delay': 'INTEGER', 'carrier': 'VARCHAR',
        'flight': 'INTEGER', 'tailnum': 'VARCHAR', 'origin': 'VARCHAR', 'dest': 'VARCHAR',
        'air_time': 'INTEGER', 'distance': 'INTEGER', 'hour': 'INTEGER', 'minute': 'INTEGER',
        'time_hour': 'VARCHAR'})
)
ORDER BY sched_dep, flight_id;

CREATE TEMP TABLE plane AS
SELECT tailnum, min(year) AS built, min(seats) AS seats
FROM read_csv('${{ inputs.planes }}', header = true, nullstr = 'NA', columns = {
    'tailnum': 'VARCHAR', 'year': 'INTEGER', 'type': 'VARCHAR', 'manufacturer': 'VARCHAR',
    'model': 'VARCHAR', 'engines': 'INTEGER', 'seats': 'INTEGER', 'speed': 'INTEGER',
    'engine': 'VARCHAR'})
GROUP BY tailnum;

CREATE TEMP TABLE weather AS
SELECT origin, strptime(time_hour, '%Y-%m-%dT%H:%M:%SZ') AS hour_utc,
    min(temp) AS temp, min(precip) AS precip, min(pressure) AS pressure, min(visib) AS visib,
    min(CASE WHEN wind_speed < 100 THEN wind_speed END) AS wind_speed   -- one reading says 1048 mph
FROM read_csv('${{ inputs.weather }}', header = true, nullstr = 'NA', columns = {
    'origin': 'VARCHAR', 'year': 'INTEGER', 'month': 'INTEGER', 'day': 'INTEGER',
    'hour': 'INTEGER', 'temp': 'DOUBLE', 'dewp': 'DOUBLE', 'humid': 'DOUBLE',
    'wind_dir': 'INTEGER', 'wind_speed': 'DOUBLE', 'wind_gust': 'DOUBLE', 'precip': 'DOUBLE',
    'pressure': 'DOUBLE', 'visib': 'DOUBLE', 'time_hour': 'VARCHAR'})
GROUP BY ALL;

-- The airport as it is 15 minutes before the scheduled departure: a stream of
-- events by the minute, in which each flight puts its question at that moment and
-- all the answers are running sums. A flight waits from its scheduled to its actual
-- departure; one that has not left after three hours is dropped from the queue,
-- whether it leaves later or never. A departure counts for an hour with the
-- airport and for two with its carrier, and then is taken back.
CREATE TEMP TABLE event AS
WITH clock AS (
    SELECT flight_id, origin, carrier, epoch(sched_dep)::BIGINT // 60 AS scheduled,
        epoch(actual_dep)::BIGINT // 60 AS left_at, least(dep_delay, 180) AS delay
    FROM flight
)
SELECT flight_id, origin, carrier, scheduled - 15 AS moment, 0 AS waiting, 0 AS waiting_since,
    0 AS hour_left, 0 AS hour_delay, 0 AS two_hours_left, 0 AS two_hours_delay
FROM clock
UNION ALL
SELECT NULL, origin, carrier, scheduled, 1, scheduled, 0, 0, 0, 0 FROM clock
UNION ALL
SELECT NULL, origin, carrier, greatest(scheduled, least(coalesce(left_at, scheduled + 180), scheduled + 180)),
    -1, -scheduled, 0, 0, 0, 0
FROM clock
UNION ALL
SELECT NULL, origin, carrier, left_at, 0, 0, 1, delay, 1, delay FROM clock WHERE left_at IS NOT NULL
UNION ALL
SELECT NULL, origin, carrier, left_at + 61, 0, 0, -1, -delay, 0, 0 FROM clock WHERE left_at IS NOT NULL
UNION ALL
SELECT NULL, origin, carrier, left_at + 121, 0, 0, 0, 0, -1, -delay FROM clock WHERE left_at IS NOT NULL;

CREATE TEMP TABLE airport AS
SELECT flight_id, airport_waiting, carrier_waiting,
    airport_waiting * moment - airport_waiting_since AS airport_waited,
    airport_delay_sum / nullif(airport_departures, 0) AS airport_delay,
    carrier_delay_sum / nullif(carrier_departures, 0) AS carrier_delay,
    airport_departures
FROM (
    SELECT flight_id, moment,
        sum(waiting) OVER by_airport AS airport_waiting,
        sum(waiting_since) OVER by_airport AS airport_waiting_since,
        sum(hour_left) OVER by_airport AS airport_departures,
        sum(hour_delay) OVER by_airport AS airport_delay_sum,
        sum(waiting) OVER by_carrier AS carrier_waiting,
        sum(two_hours_left) OVER by_carrier AS carrier_departures,
        sum(two_hours_delay) OVER by_carrier AS carrier_delay_sum
    FROM event
    WINDOW
        by_airport AS (PARTITION BY origin ORDER BY moment
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        by_carrier AS (PARTITION BY origin, carrier ORDER BY moment
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE flight_id IS NOT NULL;

-- The aircraft's last departure from New York, at least an hour ago. Slack is
-- what the timetable leaves after flying there and back (7.5 miles a minute,
-- 35 minutes of taxi and approach each way) and turning round (40 minutes).
CREATE TEMP TABLE aircraft AS
SELECT f.flight_id, p.dep_delay AS aircraft_delay,
    least(date_diff('minute', p.actual_dep, f.sched_dep) - 2 * (p.distance / 7.5 + 35) - 40, 1440)
        AS aircraft_slack
FROM (SELECT * FROM flight WHERE tailnum IS NOT NULL) AS f
ASOF JOIN (SELECT * FROM flight WHERE tailnum IS NOT NULL AND actual_dep IS NOT NULL) AS p
    ON f.tailnum = p.tailnum AND f.sched_dep - INTERVAL 60 MINUTE >= p.actual_dep;

-- The last four weeks of carrier and route, up to two days before the flight:
-- by then every flight counted here has landed. Few flights count as little
-- evidence: twenty more with a fifth of them late are added to each.
CREATE TEMP TABLE day_total AS
SELECT carrier, origin, dest, day,
    sum(late)::BIGINT AS late, count(late)::BIGINT AS flights, sum(gain)::BIGINT AS gain
FROM flight
GROUP BY ALL;

CREATE TEMP TABLE carrier_history AS
SELECT carrier, day, (sum(late) OVER carrier_weeks + 4) / (sum(flights) OVER carrier_weeks + 20) AS carrier_late
FROM (
    SELECT carrier, day, sum(late)::BIGINT AS late, sum(flights)::BIGINT AS flights
    FROM day_total GROUP BY ALL
)
WINDOW carrier_weeks AS (PARTITION BY carrier ORDER BY day
    RANGE BETWEEN INTERVAL 29 DAY PRECEDING AND INTERVAL 2 DAY PRECEDING);

CREATE TEMP TABLE route_history AS
SELECT origin, dest, day,
    (sum(late) OVER route_weeks + 4) / (sum(flights) OVER route_weeks + 20) AS route_late,
    sum(gain) OVER route_weeks / nullif(sum(flights) OVER route_weeks, 0) AS route_gain
FROM (
    SELECT origin, dest, day,
        sum(late)::BIGINT AS late, sum(flights)::BIGINT AS flights, sum(gain)::BIGINT AS gain
    FROM day_total GROUP BY ALL
)
WINDOW route_weeks AS (PARTITION BY origin, dest ORDER BY day
    RANGE BETWEEN INTERVAL 29 DAY PRECEDING AND INTERVAL 2 DAY PRECEDING);

COPY (
    SELECT
        f.flight_id,
        f.sched_dep,
        -- the timetable and the aircraft
        f.carrier,
        f.origin,
        f.distance::FLOAT AS distance,
        (hour(f.sched_dep) * 60 + minute(f.sched_dep))::FLOAT AS minute_of_day,
        isodow(f.sched_dep)::FLOAT AS weekday,
        plane.seats::FLOAT AS seats,
        plane.built::FLOAT AS built,
        -- the weather at the airport in the hour before
        weather.temp::FLOAT AS temp,
        weather.wind_speed::FLOAT AS wind_speed,
        weather.precip::FLOAT AS precip,
        weather.pressure::FLOAT AS pressure,
        weather.visib::FLOAT AS visib,
        -- the airport 15 minutes before
        airport.airport_waiting::FLOAT AS airport_waiting,
        airport.airport_waited::FLOAT AS airport_waited,
        airport.carrier_waiting::FLOAT AS carrier_waiting,
        airport.airport_delay::FLOAT AS airport_delay,
        airport.carrier_delay::FLOAT AS carrier_delay,
        airport.airport_departures::FLOAT AS airport_departures,
        -- the aircraft's last flight
        aircraft.aircraft_delay::FLOAT AS aircraft_delay,
        aircraft.aircraft_slack::FLOAT AS aircraft_slack,
        -- the last four weeks
        carrier_history.carrier_late::FLOAT AS carrier_late,
        route_history.route_late::FLOAT AS route_late,
        route_history.route_gain::FLOAT AS route_gain,
        -- the truth
        f.late
    FROM flight AS f
    LEFT JOIN plane USING (tailnum)
    LEFT JOIN weather ON weather.origin = f.origin AND weather.hour_utc = f.hour_utc - INTERVAL 1 HOUR
    LEFT JOIN airport USING (flight_id)
    LEFT JOIN aircraft USING (flight_id)
    LEFT JOIN carrier_history ON carrier_history.carrier = f.carrier AND carrier_history.day = f.day
    LEFT JOIN route_history ON route_history.origin = f.origin AND route_history.dest = f.dest
        AND route_history.day = f.day
    ORDER BY f.sched_dep, f.flight_id
) TO '${{ outputs.features }}' (FORMAT parquet, COMPRESSION zstd);
