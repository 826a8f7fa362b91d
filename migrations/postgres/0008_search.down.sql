DROP INDEX messages_search;
DROP FUNCTION mesh_search_words(TEXT, TEXT);
