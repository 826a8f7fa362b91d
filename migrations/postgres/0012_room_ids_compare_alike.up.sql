-- Where two columns are compared that are ordered by different rules, no index of the one serves the other: a room's id
-- is ordered as those that point at it. Ids have the same order by either rule.
-- contract: the order of ids is the same by either rule, and no statement names one
ALTER TABLE rooms ALTER COLUMN id TYPE TEXT COLLATE "default";
