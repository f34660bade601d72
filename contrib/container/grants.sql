-- What forwarders and readers may do; the same as in docs/fleet.md. Run as the owner, after `fleet prepare`, as often as you like.
GRANT SELECT ON fleet_version, logs, chain TO imageguard_forwarder;
GRANT INSERT ON logs, chain, gaps, odd_records, decision_records, intents, outcomes, relocations, review_records, alert_records, alert_attempts, archives
    TO imageguard_forwarder;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO imageguard_reader;
