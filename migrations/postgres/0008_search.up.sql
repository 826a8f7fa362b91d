-- A message's words, each behind the end of its room's id: letters without their accents, in lower case, 64 at most.
-- The same as domain/search.rs. It is dear, and says so: a plan that asks it for each row must not look cheap.
CREATE FUNCTION mesh_search_words(room TEXT, content TEXT) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
    SELECT COALESCE(array_to_tsvector(array_agg(DISTINCT right(replace(room, '-', ''), 12) || left(word, 64))), ''::tsvector)
    FROM regexp_split_to_table(
        regexp_replace(lower(normalize(content, NFD)), '[\u0300-\u036F]+', '', 'g'), '[^[:alnum:]]+'
    ) AS word
    WHERE word <> ''
$$;

CREATE INDEX messages_search ON messages USING gin (mesh_search_words(room_id, content));
