//! The table: every variable once. Parsing, flags, masking, `.env.example` and the README's tables follow from it.

use super::database::DatabaseUrl;
use super::parse::{self, number};
use super::values::Secret;
use super::variable::{Secrecy, Variable, row, text};

/// Every variable, in the order of the documentation.
pub const TABLE: &[Variable] = &[
    row(
        "MESH_PUBLIC_URL",
        "public-url",
        text(
            "Where clients reach the server: `iss` of its tokens, base of invite links",
            "L'adresse où les clients joignent le serveur : `iss` de ses jetons, base des liens d'invitation",
        ),
        |c, v| parse::http_url(v).map(|x| c.public_url = x),
    )
    .default("http://localhost:8000"),
    row(
        "MESH_HOST",
        "host",
        text("Address to listen on", "Adresse d'écoute"),
        |c, v| parse::listen_host(v).map(|x| c.host = x),
    )
    .default("0.0.0.0"),
    row(
        "MESH_PORT",
        "port",
        text("Port to listen on; 0 lets the system choose", "Port d'écoute ; 0 laisse choisir le système"),
        |c, v| parse::listen_port(v).map(|x| c.port = x),
    )
    .default("8000"),
    row(
        "MESH_JWT_SECRET",
        "jwt-secret",
        text(
            "Signs tokens, and seals what the database must not show: at least 32 characters; several by comma, each that \
             long: the first signs and seals, all verify and open",
            "Signe les jetons et scelle ce que la base ne doit pas montrer : au moins 32 caractères ; plusieurs séparés par \
             des virgules, chacun de cette longueur : le premier signe et scelle, tous vérifient et ouvrent",
        ),
        |c, v| parse::jwt_secret(v).map(|x| c.jwt_secret = Some(x)),
    )
    .unset(
        "made at the first start, kept beside the database with mode 0600",
        "créé au premier démarrage, gardé à côté de la base en mode 0600",
    )
    .secrecy(Secrecy::Secret, "MESH_JWT_SECRET_FILE", "jwt-secret-file"),
    row(
        "MESH_JWT_ALGORITHM",
        "jwt-algorithm",
        text(
            "How tokens are signed: `HS256`, `HS384`, `HS512`, `EdDSA`, `ES256` or `RS256`",
            "Signature des jetons : `HS256`, `HS384`, `HS512`, `EdDSA`, `ES256` ou `RS256`",
        ),
        |c, v| parse::jwt_algorithm(v).map(|x| c.jwt_algorithm = x),
    )
    .default("HS256"),
    row(
        "MESH_JWT_PRIVATE_KEY_FILE",
        "jwt-private-key-file",
        text(
            "File with the private key (PEM) of an asymmetric algorithm; with several in it the first signs, all verify",
            "Fichier de la clé privée (PEM) d'un algorithme asymétrique ; s'il en contient plusieurs, la première signe, \
             toutes vérifient",
        ),
        |c, v| parse::text(v).map(|x| c.jwt_private_key_file = Some(x.into())),
    )
    .unset("made at the first start like the secret", "créée au premier démarrage comme le secret"),
    row(
        "MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
        "jwt-access-token-expire-minutes",
        text("Life of an access token: 1 to 43200 minutes", "Durée d'un jeton d'accès : de 1 à 43200 minutes"),
        |c, v| number(v, 1, 43_200).map(|x| c.access_token_minutes = x),
    )
    .default("120"),
    row(
        "MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS",
        "jwt-refresh-token-expire-days",
        text(
            "A session unused for so many days is over: 1 to 3650",
            "Une session inutilisée pendant ce nombre de jours est close : de 1 à 3650",
        ),
        |c, v| number(v, 1, 3650).map(|x| c.refresh_token_days = x),
    )
    .default("30"),
    row(
        "MESH_RETENTION_DAYS",
        "retention-days",
        text(
            "Messages are deleted after so many days, 1 to 36500; a room may say less. Kept for ever where it is not set",
            "Les messages sont effacés après ce nombre de jours, de 1 à 36500 ; un salon peut en demander moins. Gardés \
             pour toujours si rien n'est indiqué",
        ),
        |c, v| number(v, 1, 36_500).map(|x| c.retention_days = Some(x)),
    ),
    row(
        "DATABASE_URL",
        "database-url",
        text(
            "SQLAlchemy's forms: `sqlite:///./relative.db`, `sqlite:////absolute.db`, `sqlite://` (memory), `postgresql://…`, \
             also with a driver suffix (`postgresql+psycopg2://`); for PostgreSQL `?sslmode=` and `sslrootcert=` as libpq's",
            "Formes de SQLAlchemy : `sqlite:///./relatif.db`, `sqlite:////absolu.db`, `sqlite://` (mémoire), \
             `postgresql://…`, aussi avec un suffixe de pilote (`postgresql+psycopg2://`) ; pour PostgreSQL, `?sslmode=` et `sslrootcert=` comme pour libpq",
        ),
        |c, v| DatabaseUrl::parse(v).map(|x| c.database_url = x),
    )
    .default("sqlite:///./mesh.db")
    .secrecy(Secrecy::UrlPassword, "DATABASE_URL_FILE", "database-url-file"),
    row(
        "GOTIFY_URL",
        "gotify-url",
        text("The Gotify server for push notifications", "Le serveur Gotify des notifications"),
        |c, v| parse::http_url(v).map(|x| c.gotify_url = Some(x)),
    )
    .unset("none: push is off", "aucun : pas de notifications"),
    row(
        "GOTIFY_TOKEN",
        "gotify-token",
        text(
            "Gotify's application token for those who set none of their own",
            "Jeton d'application Gotify de ceux qui n'en donnent pas",
        ),
        |c, v| parse::text(v).map(|x| c.gotify_token = Some(Secret::new(x))),
    )
    .secrecy(Secrecy::Secret, "GOTIFY_TOKEN_FILE", "gotify-token-file"),
    row(
        "NTFY_URL",
        "ntfy-url",
        text(
            "An ntfy topic for push notifications, such as `https://ntfy.sh/topic`; has no effect beside `GOTIFY_URL`",
            "Un sujet ntfy pour les notifications, comme `https://ntfy.sh/sujet` ; sans effet à côté de `GOTIFY_URL`",
        ),
        |c, v| parse::ntfy_url(v).map(|x| c.ntfy_url = Some(x)),
    ),
    row(
        "NTFY_TOKEN",
        "ntfy-token",
        text("ntfy's access token, where the topic needs one", "Jeton d'accès ntfy, si le sujet en demande un"),
        |c, v| parse::text(v).map(|x| c.ntfy_token = Some(Secret::new(x))),
    )
    .secrecy(Secrecy::Secret, "NTFY_TOKEN_FILE", "ntfy-token-file"),
    row(
        "MESH_PUSH_CONTENT",
        "push-content",
        text(
            "How much of a message push notifications tell: `full`, `sender` (only who and where), `none` (only that \
             something is new)",
            "Ce que les notifications disent d'un message : `full` (tout), `sender` (qui et où seulement), `none` \
             (seulement qu'il y a du nouveau)",
        ),
        |c, v| parse::push_content(v).map(|x| c.push_content = x),
    )
    .default("full"),
    row(
        "STUN_URL",
        "stun-url",
        text("STUN servers, several by comma", "Serveurs STUN, séparés par des virgules"),
        |c, v| parse::stun_urls(v).map(|x| c.stun_urls = x),
    )
    .default("stun:stun.l.google.com:19302"),
    row(
        "TURN_HOST",
        "turn-host",
        text(
            "A TURN server; needs `TURN_SECRET`, or `TURN_USERNAME` and `TURN_PASSWORD`",
            "Un serveur TURN ; demande `TURN_SECRET`, ou `TURN_USERNAME` et `TURN_PASSWORD`",
        ),
        |c, v| parse::host(v).map(|x| c.turn_host = Some(x)),
    ),
    row(
        "TURN_PORT",
        "turn-port",
        text("Port of the TURN server", "Port du serveur TURN"),
        |c, v| parse::remote_port(v).map(|x| c.turn_port = x),
    )
    .default("3478"),
    row(
        "TURN_TRANSPORTS",
        "turn-transports",
        text(
            "How clients reach the TURN server: `udp`, `tcp`, or both by comma, the first is tried first",
            "Comment les clients joignent le serveur TURN : `udp`, `tcp`, ou les deux séparés par une virgule, le premier est \
             essayé d'abord",
        ),
        |c, v| parse::turn_transports(v).map(|x| c.turn_transports = x),
    )
    .default("udp,tcp"),
    row(
        "TURN_TLS_PORT",
        "turn-tls-port",
        text(
            "Port of the TURN server for TLS: clients get a `turns:` URL as well",
            "Port du serveur TURN pour TLS : les clients reçoivent aussi une URL `turns:`",
        ),
        |c, v| parse::remote_port(v).map(|x| c.turn_tls_port = Some(x)),
    ),
    row(
        "TURN_SECRET",
        "turn-secret",
        text(
            "coturn's `static-auth-secret`: clients get ephemeral credentials; several by comma, the first signs",
            "`static-auth-secret` de coturn : les clients reçoivent des identifiants éphémères ; plusieurs séparés par des \
             virgules, le premier signe",
        ),
        |c, v| parse::secrets(v).map(|x| c.turn_secrets = x),
    )
    .secrecy(Secrecy::Secret, "TURN_SECRET_FILE", "turn-secret-file"),
    row(
        "TURN_USERNAME",
        "turn-username",
        text("User name for all clients, without `TURN_SECRET`", "Nom d'utilisateur de tous les clients, sans `TURN_SECRET`"),
        |c, v| parse::text(v).map(|x| c.turn_username = Some(x)),
    ),
    row(
        "TURN_PASSWORD",
        "turn-password",
        text("Password for all clients, without `TURN_SECRET`", "Mot de passe de tous les clients, sans `TURN_SECRET`"),
        |c, v| parse::text(v).map(|x| c.turn_password = Some(Secret::new(x))),
    )
    .secrecy(Secrecy::Secret, "TURN_PASSWORD_FILE", "turn-password-file"),
    row(
        "TURN_TTL_SECONDS",
        "turn-ttl-seconds",
        text(
            "Life of ephemeral TURN credentials: 1 to 2592000 seconds",
            "Durée des identifiants TURN éphémères : de 1 à 2592000 secondes",
        ),
        |c, v| number(v, 1, 2_592_000).map(|x| c.turn_ttl_seconds = x),
    )
    .default("3600"),
    row(
        "LOG_LEVEL",
        "log-level",
        text(
            "`TRACE`, `DEBUG`, `INFO`, `WARNING`, `ERROR`, or a tracing filter such as `info,mesh_server=debug`",
            "`TRACE`, `DEBUG`, `INFO`, `WARNING`, `ERROR`, ou un filtre de tracing comme `info,mesh_server=debug`",
        ),
        |c, v| parse::log_filter(v).map(|x| c.log_level = x),
    )
    .default("INFO"),
    row(
        "MESH_LOG_FORMAT",
        "log-format",
        text("`text` for people, `json` for machines", "`text` pour les gens, `json` pour les machines"),
        |c, v| parse::log_format(v).map(|x| c.log_format = x),
    )
    .default("text"),
    row(
        "MESH_REGISTRATION",
        "registration",
        text(
            "Who may make an account: `open` (everybody), `invite`, `closed`; the first account can always be made",
            "Qui peut créer un compte : `open` (tous), `invite`, `closed` ; le premier compte peut toujours être créé",
        ),
        |c, v| parse::registration(v).map(|x| c.registration = x),
    )
    .default("open"),
    row(
        "MESH_BCRYPT_COST",
        "bcrypt-cost",
        text("Cost of password hashes: 4 to 15", "Coût du hachage des mots de passe : de 4 à 15"),
        |c, v| number(v, 4, 15).map(|x| c.bcrypt_cost = x),
    )
    .default("12"),
    row(
        "MESH_LOGIN_ATTEMPTS",
        "login-attempts",
        text(
            "Failed logins a minute for an account; ten times that, and as many registrations, for an address",
            "Échecs de connexion par minute pour un compte ; dix fois plus, et autant d'inscriptions, pour une adresse",
        ),
        |c, v| number(v, 1, 1_000_000).map(|x| c.login_attempts = x),
    )
    .default("10"),
    row(
        "MESH_EVENTS_PER_SECOND",
        "events-per-second",
        text(
            "A connection's events a second, with a burst of four times that",
            "Événements par seconde d'une connexion, avec des pointes de quatre fois plus",
        ),
        |c, v| number(v, 1, 1_000_000).map(|x| c.events_per_second = x),
    )
    .default("50"),
    row(
        "MESH_MAX_MESSAGE_CHARS",
        "max-message-chars",
        text("Longest message: 1 to 16000 characters", "Message le plus long : de 1 à 16000 caractères"),
        // a frame holds 64 KiB, and a character up to 4 bytes
        |c, v| number(v, 1, 16_000).map(|x| c.max_message_chars = x),
    )
    .default("4000"),
    row(
        "MESH_WS_COMPRESSION",
        "ws-compression",
        text(
            "Whether WebSocket messages are compressed for clients that offer it (permessage-deflate): `on` halves what \
             goes over a narrow line, and costs CPU time; `off`",
            "Compression des messages WebSocket pour les clients qui la proposent (permessage-deflate) : `on` réduit de \
             moitié ce qui passe par une ligne étroite et coûte du temps de calcul ; `off`",
        ),
        |c, v| parse::switch(v).map(|x| c.ws_compression = x),
    )
    .default("off"),
    row(
        "MESH_CORS_ORIGINS",
        "cors-origins",
        text(
            "Origins of web pages that may call, by comma; `*` allows all",
            "Origines des pages web admises, séparées par des virgules ; `*` les admet toutes",
        ),
        |c, v| parse::cors_origins(v).map(|x| c.cors_origins = x),
    )
    .unset("the origin of `MESH_PUBLIC_URL`", "l'origine de `MESH_PUBLIC_URL`"),
    row(
        "MESH_TRUSTED_PROXIES",
        "trusted-proxies",
        text(
            "Addresses or CIDRs by comma whose `X-Forwarded-For` is believed",
            "Adresses ou CIDR, séparés par des virgules, dont `X-Forwarded-For` est cru",
        ),
        |c, v| parse::proxies(v).map(|x| c.trusted_proxies = x),
    ),
    row(
        "MESH_BACKUP_DIR",
        "backup-dir",
        text(
            "Folder for backups of the SQLite database, made and verified while the server runs",
            "Dossier des sauvegardes de la base SQLite, faites et vérifiées pendant que le serveur tourne",
        ),
        |c, v| parse::text(v).map(|x| c.backup_dir = Some(x.into())),
    )
    .unset("none: no backups by itself", "aucun : pas de sauvegardes automatiques"),
    row(
        "MESH_BACKUP_EVERY_HOURS",
        "backup-every-hours",
        text("A backup each so many hours: 1 to 8760", "Une sauvegarde toutes les tant d'heures : de 1 à 8760"),
        |c, v| number(v, 1, 8_760).map(|x| c.backup_every_hours = x),
    )
    .default("24"),
    row(
        "MESH_BACKUP_KEEP",
        "backup-keep",
        text(
            "How many backups are kept, the oldest go: 1 to 10000",
            "Nombre de sauvegardes gardées, les plus anciennes partent : de 1 à 10000",
        ),
        |c, v| number(v, 1, 10_000).map(|x| c.backup_keep = x),
    )
    .default("7"),
    row(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "otel-exporter-otlp-endpoint",
        text(
            "An OpenTelemetry collector for traces (OTLP over HTTP, JSON), such as `http://localhost:4318`",
            "Un collecteur OpenTelemetry pour les traces (OTLP par HTTP, JSON), comme `http://localhost:4318`",
        ),
        |c, v| parse::http_url(v).map(|x| c.otlp_endpoint = Some(x)),
    )
    .unset("none: no traces", "aucun : pas de traces"),
    row(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "otel-exporter-otlp-headers",
        text(
            "Headers that the collector asks for: `name=value`, several by comma",
            "En-têtes que demande le collecteur : `nom=valeur`, séparés par des virgules",
        ),
        |c, v| parse::headers(v).map(|x| c.otlp_headers = x),
    )
    .secrecy(Secrecy::Secret, "OTEL_EXPORTER_OTLP_HEADERS_FILE", "otel-exporter-otlp-headers-file"),
    row(
        "OTEL_SERVICE_NAME",
        "otel-service-name",
        text("What traces call this server", "Le nom de ce serveur dans les traces"),
        |c, v| parse::text(v).map(|x| c.otel_service_name = x),
    )
    .default("mesh-server"),
    row(
        "OTEL_TRACES_SAMPLER_ARG",
        "otel-traces-sampler-arg",
        text(
            "Which share of traces is recorded: 0 to 1, such as `0.05`",
            "La part des traces enregistrées : de 0 à 1, comme `0.05`",
        ),
        |c, v| parse::share(v).map(|x| c.trace_sample_ppm = x),
    )
    .default("1"),
    row(
        "MESH_TLS_CERT",
        "tls-cert",
        text(
            "File with the certificate and its chain (PEM): the server speaks TLS itself, without a proxy. Read again when it \
             changes, and on SIGHUP",
            "Fichier du certificat et de sa chaîne (PEM) : le serveur parle TLS lui-même, sans proxy. Relu quand il change, \
             et sur SIGHUP",
        ),
        |c, v| parse::text(v).map(|x| c.tls_cert = Some(x.into())),
    )
    .unset("none: plain HTTP, for a proxy in front", "aucun : HTTP en clair, pour un proxy devant"),
    row(
        "MESH_TLS_KEY",
        "tls-key",
        text(
            "File with the private key (PEM) of `MESH_TLS_CERT`",
            "Fichier de la clé privée (PEM) de `MESH_TLS_CERT`",
        ),
        |c, v| parse::text(v).map(|x| c.tls_key = Some(x.into())),
    ),
    row(
        "MESH_METRICS_ADDR",
        "metrics-addr",
        text("Address and port of its own for `/metrics`", "Adresse et port propres à `/metrics`"),
        |c, v| parse::socket(v).map(|x| c.metrics_addr = Some(x)),
    )
    .unset("none: `/metrics` stands on the main port", "aucun : `/metrics` est sur le port principal"),
    row(
        "MESH_BUS_URL",
        "bus-url",
        text(
            "`nats://…` joins several servers on one PostgreSQL",
            "`nats://…` relie plusieurs serveurs sur un même PostgreSQL",
        ),
        |c, v| parse::bus_url(v).map(|x| c.bus_url = Some(x)),
    )
    .unset("none: one process", "aucun : un seul processus")
    .secrecy(Secrecy::UrlPassword, "MESH_BUS_URL_FILE", "bus-url-file")
    .later("several servers", "plusieurs serveurs"),
    row(
        "MESH_SHUTDOWN_SECONDS",
        "shutdown-seconds",
        text(
            "How long a planned stop waits for what is under way: 0 to 3600 seconds",
            "Délai d'un arrêt prévu pour finir ce qui est en cours : de 0 à 3600 secondes",
        ),
        |c, v| number(v, 0, 3600).map(|x| c.shutdown_seconds = x),
    )
    .default("10"),
    row(
        "MESH_DRAIN_SECONDS",
        "drain-seconds",
        text(
            "How long `/ready` says `stopping` before a planned stop begins, so that a balancer sends nobody any more: 0 to \
             3600 seconds",
            "Délai pendant lequel `/ready` répond `stopping` avant qu'un arrêt prévu ne commence, pour qu'un répartiteur \
             n'envoie plus personne : de 0 à 3600 secondes",
        ),
        |c, v| number(v, 0, 3600).map(|x| c.drain_seconds = x),
    )
    .default("0"),
];
