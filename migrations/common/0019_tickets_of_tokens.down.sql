-- loses: tickets that were asked for with a personal access token within the last 30 seconds
DROP TABLE token_tickets;
