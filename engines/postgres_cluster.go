package engines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// adminName is the cluster's superuser. Only this package logs in with it, to make the service's user and database.
const adminName = "headroom_admin"

// ensureCluster makes the database cluster on the first start and refuses one of another major version. It is made
// beside its place and renamed, so that a crash in the middle leaves nothing that looks like a cluster.
func (s *postgresSpec) ensureCluster(ctx context.Context) error {
	versionFile := filepath.Join(s.data, "PG_VERSION")
	b, err := os.ReadFile(versionFile)
	if err == nil {
		was, is := versionNumbers(string(b), 1)[0], versionNumbers(s.version, 1)[0]
		if was != is {
			return fmt.Errorf("data directory %q was made by PostgreSQL %d, the installed one is %d: "+
				"move the data with pg_dump, or choose another --data", s.data, was, is)
		}
		return nil
	}
	if !os.IsNotExist(err) {
		return fmt.Errorf("cannot read %q: %w", versionFile, err)
	}
	if _, err := os.Stat(s.data); err == nil {
		return fmt.Errorf("%q is there but is no PostgreSQL data directory: move it away", s.data)
	}
	s.progress("creating the PostgreSQL cluster")

	made := s.data + ".new"
	if err := os.RemoveAll(made); err != nil {
		return fmt.Errorf("cannot remove what an interrupted start has left: %w", err)
	}
	if err := os.Mkdir(made, 0o700); err != nil {
		return fmt.Errorf("cannot make PostgreSQL data directory: %w", err)
	}
	passwordFile := filepath.Join(s.dir, "initdb-password")
	if err := writeFile(passwordFile, s.adminPassword+"\n"); err != nil {
		return err
	}
	defer os.Remove(passwordFile)
	for _, path := range []string{made, passwordFile} {
		if err := giveToPostgres(path); err != nil {
			return err
		}
	}
	args := []string{
		"--pgdata=" + made, "--username=" + adminName, "--pwfile=" + passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions",
		// The built-in locale sorts the same on every machine; an index never breaks with an update of the C library.
		"--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
	}
	if s.Ephemeral {
		args = append(args, "--no-sync")
	}
	p, err := startProcess("initdb", s.command("initdb", args...), filepath.Join(s.dir, "initdb.log"), nil)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.kill()
		return fmt.Errorf("cannot create the PostgreSQL cluster: %w", context.Cause(ctx))
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("cannot create the PostgreSQL cluster: initdb: %w; %s", p.err, p.log)
	}
	if err := os.Rename(made, s.data); err != nil {
		return fmt.Errorf("cannot put the PostgreSQL cluster in its place: %w", err)
	}
	return nil
}

// The settings are for control data on a machine shared with ClickHouse. Embedded there is one server and nobody to
// replicate to, so the log is minimal. An operator's own settings go to postgresql.local.conf beside this file.
var postgresConfig = template.Must(template.New("postgres").Funcs(template.FuncMap{"quote": quoteSetting}).Parse(
	`# Written at every start. Your own settings belong in postgresql.local.conf beside this file.
hba_file = {{quote .HBAFile}}
listen_addresses = '127.0.0.1'
port = {{.Port}}
unix_socket_directories = ''
max_connections = 100
password_encryption = 'scram-sha-256'
shared_buffers = '96MB'
work_mem = '8MB'
maintenance_work_mem = '64MB'
huge_pages = off
dynamic_shared_memory_type = posix
jit = off
io_workers = 1
max_worker_processes = 4
max_parallel_workers_per_gather = 0
autovacuum_max_workers = 2
wal_level = minimal
max_wal_senders = 0
wal_compression = on
min_wal_size = '64MB'
max_wal_size = '512MB'
checkpoint_timeout = '15min'
fsync = {{if .Ephemeral}}off{{else}}on{{end}}
full_page_writes = {{if .Ephemeral}}off{{else}}on{{end}}
synchronous_commit = {{if .Ephemeral}}off{{else}}on{{end}}
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] '
# Statements' errors go to the client, which logs them; here is what concerns the server.
log_min_messages = log
log_checkpoints = off
log_timezone = 'UTC'
timezone = 'UTC'
include_if_exists = 'postgresql.local.conf'
`))

const postgresHBA = `# Written at every start. Only this machine, only with a password.
host all all 127.0.0.1/32 scram-sha-256
`

// writeConfig writes the configuration beside the data directory and not into it: in there the server's user could
// lay a link for root to write through.
func (s *postgresSpec) writeConfig() (string, error) {
	hbaFile := filepath.Join(s.dir, "pg_hba.conf")
	if err := writeFile(hbaFile, postgresHBA); err != nil {
		return "", err
	}
	configFile := filepath.Join(s.dir, "postgresql.conf")
	err := renderFile(configFile, postgresConfig, map[string]any{"HBAFile": hbaFile, "Port": s.port, "Ephemeral": s.Ephemeral})
	if err != nil {
		return "", err
	}
	for _, path := range []string{hbaFile, configFile} {
		if err := giveToPostgres(path); err != nil {
			return "", err
		}
	}
	return configFile, nil
}

// giveToPostgres makes the server's user the owner of a file when that is not us.
func giveToPostgres(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Lchown(path, postgresUser, postgresUser); err != nil {
		return fmt.Errorf("cannot give %q to PostgreSQL's user %d: %w", path, postgresUser, err)
	}
	return nil
}

func quoteSetting(s string) string {
	return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(s) + "'"
}
