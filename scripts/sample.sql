-- The sample database of `make run`. ${name} stands for a value given on make-sample's command line, as an SQL string.

-- 3,000,000 flights within the USA, January to July 2001 (US Bureau of Transportation Statistics), as they come.
CREATE TABLE flights AS SELECT * FROM read_parquet(${flights});

-- Where the airports are; flights.origin and flights.destination are airports.iata.
CREATE TABLE airports AS SELECT * FROM read_csv(${airports}, header = true, nullstr = 'NA');

-- The TPC-H tables at scale factor 0.1.
CREATE SCHEMA tpch;
CALL dbgen(sf = 0.1, schema = 'tpch');
