package collector

// A measure is something that resources of a kind are known by, whoever reports it. Its name carries its unit; without
// one it is a number of things.
type measure struct {
	name string
	// counts says that it counts up: what matters is by how much it grew. Others are what they are at a moment. This
	// decides, and not the type of the metric, which remote-write 1.0 does not tell and exporters get wrong.
	counts bool
	// across says what several series of one instance come to together: their sum, or their largest. (A database reports a
	// row a connection's state, a replica each for its lag.)
	across string
	about  string
}

// measures are the vocabulary of resource_points. docs/metrics.md shows it; a test keeps them equal.
var measures = []measure{
	{"connections_used", false, "sum", "connections that clients hold"},
	{"connections_idle", false, "sum", "connections of a pool that nobody uses now"},
	{"connections_max", false, "max", "the most connections that there can be"},
	{"queries", true, "sum", "statements or commands, done"},
	{"query_time_seconds", true, "sum", "time spent in them"},
	{"commits", true, "sum", "transactions committed"},
	{"rollbacks", true, "sum", "transactions rolled back"},
	{"replication_lag_seconds", false, "max", "how far a replica is behind"},
	{"replication_lag_bytes", false, "max", "the same in bytes of log"},
	{"hits", true, "sum", "lookups that found their key"},
	{"misses", true, "sum", "lookups that did not"},
	{"evictions", true, "sum", "keys dropped for want of memory"},
	{"memory_used_bytes", false, "sum", "memory in use"},
	{"memory_max_bytes", false, "max", "memory that may be used; 0 is no limit"},
	{"depth", false, "sum", "messages that wait to be delivered"},
	{"unacknowledged", false, "sum", "messages delivered and not acknowledged"},
	{"oldest_age_seconds", false, "max", "how long the oldest message has waited"},
	{"in", true, "sum", "messages that came into a queue"},
	{"out", true, "sum", "messages that were delivered"},
	{"consumers", false, "sum", "those who read the queue"},
	{"waiting", false, "sum", "requests that wait for a connection now"},
	{"waits", true, "sum", "requests that got a connection, with or without waiting"},
	{"wait_time_seconds", true, "sum", "time that they waited"},
	{"timeouts", true, "sum", "requests that waited in vain"},
}

// The kinds of resources. byDatabase is cache for systems that are caches, else database, as with spans.
const (
	database   = "database"
	cache      = "cache"
	queue      = "queue"
	pool       = "pool"
	byDatabase = "database or cache"
)

// The names by which an instance is found, by the kind of the resource: the first label that a point has is taken. A
// port that comes in a label of its own is put behind an address.
var instanceLabels = map[string][]string{
	database: {"server.address", "server", "net.peer.name", "instance", "service.instance.id", "db.namespace", "db.name", "host.name"},
	cache:    {"server.address", "server", "net.peer.name", "instance", "service.instance.id", "host.name"},
	queue:    {"messaging.destination.name", "rabbitmq.queue.name", "queue", "topic", "queue_name", "dimension_QueueName", "server.address", "instance", "service.instance.id", "rabbitmq.node.name"},
	pool:     {"db.client.connection.pool.name", "pool.name", "pool", "server.address", "instance", "service.instance.id"},
}

// portLabels hold the port of an address, by the label that holds the address.
var portLabels = map[string]string{"server.address": "server.port", "net.peer.name": "net.peer.port"}

// systemLabels name the system of a metric that is not of one system only.
var systemLabels = []string{"db.system.name", "db.system", "messaging.system"}

// mapping says that a metric, or those of its points that have a label, is a measure.
type mapping struct {
	metric       string // with _sum or _count for these of a histogram or summary
	label, value string // that a point must have; without a value any, without a label all points are taken
	kind, system string // system is empty when the point's labels name it
	measure      string
	scale        float64 // what makes the metric's unit the measure's; sinceUnix for one that is no factor
}

// sinceUnix is the scale of a metric that is a Unix time in seconds, whose age is the measure.
const sinceUnix = -1

// vocabulary maps metrics as they are named by OpenTelemetry's semantic conventions, the Collector's receivers and
// Prometheus's exporters. docs/metrics.md shows it; a test keeps them equal.
//
// Of two metrics that say the same, one is mapped, for what is mapped twice is counted twice.
var vocabulary = []mapping{
	// Semantic conventions: database clients and their pools. Before 1.26 names were plural and times milliseconds.
	{"db.client.operation.duration_count", "", "", byDatabase, "", "queries", 1},
	{"db.client.operation.duration_sum", "", "", byDatabase, "", "query_time_seconds", 1},
	{"db.client.connection.count", "db.client.connection.state", "used", pool, "", "connections_used", 1},
	{"db.client.connection.count", "db.client.connection.state", "idle", pool, "", "connections_idle", 1},
	{"db.client.connection.max", "", "", pool, "", "connections_max", 1},
	{"db.client.connection.pending_requests", "", "", pool, "", "waiting", 1},
	{"db.client.connection.timeouts", "", "", pool, "", "timeouts", 1},
	{"db.client.connection.wait_time_count", "", "", pool, "", "waits", 1},
	{"db.client.connection.wait_time_sum", "", "", pool, "", "wait_time_seconds", 1},
	{"db.client.connections.usage", "state", "used", pool, "", "connections_used", 1},
	{"db.client.connections.usage", "state", "idle", pool, "", "connections_idle", 1},
	{"db.client.connections.max", "", "", pool, "", "connections_max", 1},
	{"db.client.connections.pending_requests", "", "", pool, "", "waiting", 1},
	{"db.client.connections.timeouts", "", "", pool, "", "timeouts", 1},
	{"db.client.connections.wait_time_count", "", "", pool, "", "waits", 1},
	{"db.client.connections.wait_time_sum", "", "", pool, "", "wait_time_seconds", 0.001},

	// Semantic conventions: messaging clients.
	{"messaging.client.sent.messages", "", "", queue, "", "in", 1},
	{"messaging.client.consumed.messages", "", "", queue, "", "out", 1},

	// HikariCP, as Micrometer names it.
	{"hikaricp_connections_active", "", "", pool, "", "connections_used", 1},
	{"hikaricp_connections_idle", "", "", pool, "", "connections_idle", 1},
	{"hikaricp_connections_max", "", "", pool, "", "connections_max", 1},
	{"hikaricp_connections_pending", "", "", pool, "", "waiting", 1},
	{"hikaricp_connections_timeout_total", "", "", pool, "", "timeouts", 1},
	{"hikaricp_connections_acquire_seconds_count", "", "", pool, "", "waits", 1},
	{"hikaricp_connections_acquire_seconds_sum", "", "", pool, "", "wait_time_seconds", 1},

	// Collector receiver postgresql.
	{"postgresql.backends", "", "", database, "postgresql", "connections_used", 1},
	{"postgresql.connection.max", "", "", database, "postgresql", "connections_max", 1},
	{"postgresql.commits", "", "", database, "postgresql", "commits", 1},
	{"postgresql.rollbacks", "", "", database, "postgresql", "rollbacks", 1},
	{"postgresql.wal.lag", "operation", "replay", database, "postgresql", "replication_lag_seconds", 1},
	{"postgresql.wal.delay", "operation", "replay", database, "postgresql", "replication_lag_seconds", 1},
	{"postgresql.replication.data_delay", "", "", database, "postgresql", "replication_lag_bytes", 1},

	// Collector receiver redis.
	{"redis.clients.connected", "", "", cache, "redis", "connections_used", 1},
	{"redis.commands.processed", "", "", cache, "redis", "queries", 1},
	{"redis.cmd.usec", "", "", cache, "redis", "query_time_seconds", 1e-6},
	{"redis.keyspace.hits", "", "", cache, "redis", "hits", 1},
	{"redis.keyspace.misses", "", "", cache, "redis", "misses", 1},
	{"redis.keys.evicted", "", "", cache, "redis", "evictions", 1},
	{"redis.memory.used", "", "", cache, "redis", "memory_used_bytes", 1},
	{"redis.maxmemory", "", "", cache, "redis", "memory_max_bytes", 1},

	// Collector receiver rabbitmq.
	{"rabbitmq.message.current", "state", "ready", queue, "rabbitmq", "depth", 1},
	{"rabbitmq.message.current", "state", "unacknowledged", queue, "rabbitmq", "unacknowledged", 1},
	{"rabbitmq.message.published", "", "", queue, "rabbitmq", "in", 1},
	{"rabbitmq.message.delivered", "", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq.consumer.count", "", "", queue, "rabbitmq", "consumers", 1},

	// Collector receiver kafkametrics.
	{"kafka.consumer_group.lag_sum", "", "", queue, "kafka", "depth", 1},
	{"kafka.partition.current_offset", "", "", queue, "kafka", "in", 1},
	{"kafka.consumer_group.offset_sum", "", "", queue, "kafka", "out", 1},

	// postgres_exporter.
	{"pg_stat_database_numbackends", "", "", database, "postgresql", "connections_used", 1},
	{"pg_settings_max_connections", "", "", database, "postgresql", "connections_max", 1},
	{"pg_stat_statements_calls_total", "", "", database, "postgresql", "queries", 1},
	{"pg_stat_statements_seconds_total", "", "", database, "postgresql", "query_time_seconds", 1},
	{"pg_stat_database_xact_commit", "", "", database, "postgresql", "commits", 1},
	{"pg_stat_database_xact_rollback", "", "", database, "postgresql", "rollbacks", 1},
	{"pg_replication_lag", "", "", database, "postgresql", "replication_lag_seconds", 1},
	{"pg_replication_lag_seconds", "", "", database, "postgresql", "replication_lag_seconds", 1},
	{"pg_stat_replication_pg_wal_lsn_diff", "", "", database, "postgresql", "replication_lag_bytes", 1},

	// redis_exporter.
	{"redis_connected_clients", "", "", cache, "redis", "connections_used", 1},
	{"redis_config_maxclients", "", "", cache, "redis", "connections_max", 1},
	{"redis_commands_processed_total", "", "", cache, "redis", "queries", 1},
	{"redis_commands_duration_seconds_total", "", "", cache, "redis", "query_time_seconds", 1},
	{"redis_connected_slave_lag_seconds", "", "", cache, "redis", "replication_lag_seconds", 1},
	{"redis_keyspace_hits_total", "", "", cache, "redis", "hits", 1},
	{"redis_keyspace_misses_total", "", "", cache, "redis", "misses", 1},
	{"redis_evicted_keys_total", "", "", cache, "redis", "evictions", 1},
	{"redis_memory_used_bytes", "", "", cache, "redis", "memory_used_bytes", 1},
	{"redis_memory_max_bytes", "", "", cache, "redis", "memory_max_bytes", 1},

	// RabbitMQ's own Prometheus plugin: a broker. What its queues hold together are sums over all of them. What comes and
	// goes is in the global counters alone: the plugin's sums over queues and channels lose what a closed channel has counted.
	{"rabbitmq_global_messages_routed_total", "", "", queue, "rabbitmq", "in", 1},
	{"rabbitmq_global_messages_delivered_total", "", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_connections", "", "", queue, "rabbitmq", "connections_used", 1},
	{"rabbitmq_process_resident_memory_bytes", "", "", queue, "rabbitmq", "memory_used_bytes", 1},
	{"rabbitmq_resident_memory_limit_bytes", "", "", queue, "rabbitmq", "memory_max_bytes", 1},

	// The plugin: each queue, by /metrics/detailed. Those that count are there since RabbitMQ 4.0.
	{"rabbitmq_detailed_queue_messages_ready", "", "", queue, "rabbitmq", "depth", 1},
	{"rabbitmq_detailed_queue_messages_unacked", "", "", queue, "rabbitmq", "unacknowledged", 1},
	{"rabbitmq_detailed_queue_consumers", "", "", queue, "rabbitmq", "consumers", 1},
	{"rabbitmq_detailed_queue_head_message_timestamp", "", "", queue, "rabbitmq", "oldest_age_seconds", sinceUnix},
	{"rabbitmq_detailed_queue_exchange_messages_published_total", "", "", queue, "rabbitmq", "in", 1},
	{"rabbitmq_detailed_queue_messages_delivered_total", "", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_detailed_queue_messages_delivered_ack_total", "", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_detailed_queue_get_total", "", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_detailed_queue_get_ack_total", "", "", queue, "rabbitmq", "out", 1},

	// The plugin by /metrics (all queues of a broker together: no label queue) and by /metrics/per-object, and kbudde's
	// rabbitmq_exporter, which shares names with both. Only that one says whether a queue is durable, and only its
	// messages_published_total is of a queue: the plugin's is of a channel, and says again what queue_exchange does.
	{"rabbitmq_queue_messages_ready", "", "", queue, "rabbitmq", "depth", 1},
	{"rabbitmq_queue_messages_unacked", "", "", queue, "rabbitmq", "unacknowledged", 1},
	{"rabbitmq_queue_messages_unacknowledged", "", "", queue, "rabbitmq", "unacknowledged", 1},
	{"rabbitmq_queue_consumers", "", "", queue, "rabbitmq", "consumers", 1},
	{"rabbitmq_queue_head_message_timestamp", "", "", queue, "rabbitmq", "oldest_age_seconds", sinceUnix},
	{"rabbitmq_queue_exchange_messages_published_total", "queue", "", queue, "rabbitmq", "in", 1},
	{"rabbitmq_queue_messages_published_total", "durable", "", queue, "rabbitmq", "in", 1},
	{"rabbitmq_queue_messages_delivered_total", "queue", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_queue_messages_delivered_ack_total", "queue", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_queue_messages_delivered_noack_total", "queue", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_queue_get_total", "queue", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_queue_get_ack_total", "queue", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_queue_messages_get_total", "queue", "", queue, "rabbitmq", "out", 1},
	{"rabbitmq_queue_messages_get_noack_total", "queue", "", queue, "rabbitmq", "out", 1},

	// Amazon SQS, as the exporters of CloudWatch name it.
	{"aws_sqs_approximate_number_of_messages_visible_maximum", "", "", queue, "aws_sqs", "depth", 1},
	{"aws_sqs_approximate_age_of_oldest_message_maximum", "", "", queue, "aws_sqs", "oldest_age_seconds", 1},
}

// mapped is the vocabulary as it is looked up.
type mapped struct {
	byMetric map[string][]*mapping
	counts   map[string]bool // by the measure's name
}

func newMapped() *mapped {
	m := &mapped{byMetric: make(map[string][]*mapping), counts: make(map[string]bool)}
	for i := range vocabulary {
		v := &vocabulary[i]
		m.byMetric[v.metric] = append(m.byMetric[v.metric], v)
	}
	for _, q := range measures {
		m.counts[q.name] = q.counts
	}
	return m
}
