package engines

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// launchQuery opens the listeners and then sleeps for ever (thirty years): the engine serves for as long as its last
// query runs. Sleep is chosen over reading standard input because it needs no right at all: the engine's own session
// is the user "default", which has no password, and a right to read files would be everybody's on this machine.
const launchQuery = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; SELECT sleep(1000000000)"

// The pools are for a machine of two cores that headroom shares. The limits under merge_tree must stay below
// background_pool_size × background_merges_mutations_concurrency_ratio (2), else the server refuses every table.
// No statistics of every column are made: they are for joins of large tables, which headroom does not do, and an eighth of
// what a merge costs.
// An insert is on disk when it is acknowledged, so that a power failure takes no more than kill -9 does; ClickHouse's
// own default leaves that to the kernel. No system log table (query_log, trace_log, metric_log, part_log, …) is configured, so none is written.
var clickhouseConfig = template.Must(template.New("config").Funcs(template.FuncMap{"xml": xmlEscape}).Parse(`<clickhouse>
  <logger>
    <level>warning</level>
    <log>{{xml .LogDir}}/clickhouse.log</log>
    <errorlog>{{xml .LogDir}}/clickhouse.err.log</errorlog>
    <size>10M</size>
    <count>3</count>
  </logger>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>{{.TCPPort}}</tcp_port>
  <http_port>{{.HTTPPort}}</http_port>
  <users_config>{{xml .UsersFile}}</users_config>
  <timezone>UTC</timezone>
  <keep_alive_timeout>60</keep_alive_timeout>
  <max_server_memory_usage>{{.Memory}}</max_server_memory_usage>
  <mark_cache_size>134217728</mark_cache_size>
  <index_mark_cache_size>33554432</index_mark_cache_size>
  <primary_index_cache_size>134217728</primary_index_cache_size>
  <merges_mutations_memory_usage_soft_limit>{{.MergeMemory}}</merges_mutations_memory_usage_soft_limit>
  <background_pool_size>4</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_common_pool_size>2</background_common_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <merge_tree>
    <fsync_after_insert>{{.Fsync}}</fsync_after_insert>
    <fsync_part_directory>{{.Fsync}}</fsync_part_directory>
    <auto_statistics_types></auto_statistics_types>
    <number_of_free_entries_in_pool_to_execute_mutation>4</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>3</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>4</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
`))

// The service's user may do everything in databases and nothing outside of them: no files, no URLs, no object stores,
// so that a query that somebody has smuggled in stays inside. REMOTE and POSTGRES are for Distributed tables and
// dictionaries. Table engines are granted by name, because TABLE ENGINE ON * would imply FILE, URL and the like. The user "default" may run one query at a time, beside the launch query, and cannot
// change that. Its profile is not the profile "default", from which the server takes what holds for everybody.
var clickhouseUsers = template.Must(template.New("users").Parse(`<clickhouse>
  <profiles>
    <default/>
    <launch>
      <function_sleep_max_microseconds_per_block>0</function_sleep_max_microseconds_per_block>
      <max_concurrent_queries_for_user>1</max_concurrent_queries_for_user>
      <constraints>
        <max_concurrent_queries_for_user><readonly/></max_concurrent_queries_for_user>
      </constraints>
    </launch>
    <service>
      <async_insert>0</async_insert>
      <allow_introspection_functions>0</allow_introspection_functions>
      <deduplicate_blocks_in_dependent_materialized_views>1</deduplicate_blocks_in_dependent_materialized_views>
      <cancel_http_readonly_queries_on_client_close>1</cancel_http_readonly_queries_on_client_close>
    </service>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>launch</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SYSTEM LISTEN ON *.*</query>
      </grants>
    </default>
    <{{.User}}>
      <password_sha256_hex>{{.PasswordSHA256}}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>service</profile>
      <quota>default</quota>
      <grants>
        <query>GRANT SHOW, SELECT, INSERT, ALTER, CREATE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY, MOVE PARTITION BETWEEN SHARDS, SYSTEM, dictGet, INTROSPECTION, CLUSTER ON *.*</query>
        <query>GRANT REMOTE, POSTGRES ON *.*</query>
        <query>GRANT SET DEFINER ON *</query>
{{- range .TableEngines}}
        <query>GRANT TABLE ENGINE ON {{.}}</query>
{{- end}}
      </grants>
    </{{.User}}>
  </users>
</clickhouse>
`))

// tableEngines are those that keep their data in this server, read it from another, or keep none.
func tableEngines() []string {
	engines := []string{"Distributed", "Memory", "Null", "Log", "TinyLog", "StripeLog", "Set", "Join", "Buffer", "Merge",
		"View", "MaterializedView", "Dictionary", "GenerateRandom"}
	for _, kind := range []string{"", "Replacing", "Summing", "Aggregating", "Collapsing", "VersionedCollapsing", "Coalescing", "Graphite"} {
		engines = append(engines, kind+"MergeTree", "Replicated"+kind+"MergeTree")
	}
	return engines
}

func (s *clickhouseSpec) writeConfig() error {
	logDir := filepath.Join(s.dir, "log")
	for _, dir := range []string{logDir, filepath.Join(s.dir, "data")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("cannot make ClickHouse directory: %w", err)
		}
	}
	usersFile := filepath.Join(s.dir, "users.xml")
	sum := sha256.Sum256([]byte(s.password))
	err := renderFile(usersFile, clickhouseUsers, map[string]any{
		"User": serviceName, "PasswordSHA256": hex.EncodeToString(sum[:]), "TableEngines": tableEngines(),
	})
	if err != nil {
		return err
	}
	fsync := 1
	if s.Ephemeral {
		fsync = 0
	}
	return renderFile(filepath.Join(s.dir, "config.xml"), clickhouseConfig, map[string]any{
		"LogDir": logDir, "TCPPort": s.tcpPort, "HTTPPort": s.httpPort, "UsersFile": usersFile,
		"Memory": s.ClickHouseMemory, "MergeMemory": s.ClickHouseMemory / 2, "Fsync": fsync,
	})
}

func renderFile(path string, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("cannot render %q: %w", path, err)
	}
	return writeFile(path, b.String())
}

func xmlEscape(s string) (string, error) {
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
