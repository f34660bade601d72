-- Run once by the database's image, as superuser, when the database is made: the roles of docs/fleet.md, with passwords from files.
\set ON_ERROR_STOP 1
\set owner_password `cat /run/secrets/owner-password`
\set forwarder_password `cat /run/secrets/forwarder-password`
\set reader_password `cat /run/secrets/reader-password`
CREATE ROLE imageguard_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE imageguard_forwarder LOGIN PASSWORD :'forwarder_password';
CREATE ROLE imageguard_reader LOGIN PASSWORD :'reader_password';
ALTER DATABASE imageguard OWNER TO imageguard_owner;
