package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is one run of the PostgreSQL server, without supervision.
type Postgres struct {
	spec    *postgresSpec
	process *process
}

// StartPostgres starts the PostgreSQL server and returns when it answers queries. Most callers want Start.
func StartPostgres(ctx context.Context, o Options) (*Postgres, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return startPostgres(ctx, o)
}

// DSN names a user that owns the database, may create roles and databases, and is not a superuser. It is valid for
// every run on the same data directory as long as nobody else takes the port in between.
func (p *Postgres) DSN() string { return p.spec.dsn(serviceName, p.spec.password, serviceName) }

// PID returns the postmaster's process id.
func (p *Postgres) PID() int { return p.process.pid }

// Done is closed when the postmaster has ended.
func (p *Postgres) Done() <-chan struct{} { return p.process.done }

// Err says why the postmaster has ended; nil while it runs.
func (p *Postgres) Err() error { return p.process.exitError() }

// Stop ends the server and gives its directory back.
func (p *Postgres) Stop(ctx context.Context) error {
	return errors.Join(p.process.stop(ctx), p.spec.lock.Unlock())
}

// postgresSpec is what stays the same from one run of the server to the next.
type postgresSpec struct {
	Options
	lock          *DirLock
	dir           string // DIR/postgres, ours: passwords, configuration, log
	data          string // DIR/postgres/data, the server's
	native        string // the package's directory with bin, lib and share
	version       string // of the package
	password      string // of the service's user
	adminPassword string // of the cluster's superuser
	port          int
}

func startPostgres(ctx context.Context, o Options) (*Postgres, error) {
	s := &postgresSpec{Options: o, dir: filepath.Join(o.Dir, "postgres")}
	s.data = filepath.Join(s.dir, "data")
	var err error
	if s.version, err = packageVersion(o.Packages, postgresPackage); err != nil {
		return nil, err
	}
	packageDir := filepath.Join(o.Packages, filepath.FromSlash(postgresPackage))
	s.native = filepath.Join(packageDir, "native")
	if _, err := os.Stat(s.program("postgres")); err != nil {
		return nil, fmt.Errorf("cannot find the PostgreSQL server: %w: run `make engines`", err)
	}
	if err := linkLibraries(packageDir); err != nil {
		return nil, err
	}
	if s.lock, err = LockDir(s.dir); err != nil {
		return nil, err
	}
	p, err := s.start(ctx)
	if err != nil {
		return nil, errors.Join(err, s.lock.Unlock())
	}
	return &Postgres{spec: s, process: p}, nil
}

func (s *postgresSpec) start(ctx context.Context) (*process, error) {
	var err error
	if s.password, err = secret(filepath.Join(s.dir, "password")); err != nil {
		return nil, err
	}
	if s.adminPassword, err = secret(filepath.Join(s.dir, "admin-password")); err != nil {
		return nil, err
	}
	if err := s.ensureCluster(ctx); err != nil {
		return nil, err
	}
	s.progress("starting PostgreSQL")
	// As for ClickHouse: the port may have been taken since we looked.
	for attempt := 1; ; attempt++ {
		ports, err := pickPorts(filepath.Join(s.dir, "ports"), 1)
		if err != nil {
			return nil, err
		}
		s.port = ports[0]
		p, err := s.launch(ctx)
		if err == nil {
			return p, nil
		}
		if attempt == 3 || ctx.Err() != nil || portFree(s.port) {
			return nil, err
		}
	}
}

// launch starts the server on the chosen port and waits until the service's user can use its database.
func (s *postgresSpec) launch(ctx context.Context) (*process, error) {
	if err := s.endEarlierRun(ctx); err != nil {
		return nil, err
	}
	configFile, err := s.writeConfig()
	if err != nil {
		return nil, err
	}
	cmd := s.command("postgres", "-D", s.data, "-c", "config_file="+configFile)
	// SIGINT is the fast shutdown: ends the sessions, writes a checkpoint. SIGQUIT leaves that to the next start.
	farewell := []step{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}}
	p, err := startProcess("PostgreSQL", cmd, filepath.Join(s.dir, "postgres.log"), farewell)
	if err != nil {
		return nil, err
	}
	if err := p.ready(ctx, s.StartTimeout, s.provision); err != nil {
		return nil, err
	}
	return p, nil
}

// provision succeeds once the service's user can log in to its database; it makes both when they are missing.
func (s *postgresSpec) provision(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.dsn(serviceName, s.password, serviceName))
	if err == nil {
		return conn.Close(ctx)
	}
	conn, err = pgx.Connect(ctx, s.dsn(adminName, s.adminPassword, "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", serviceName).Scan(&exists); err != nil {
		return err
	}
	verb := "CREATE"
	if exists {
		verb = "ALTER"
	}
	// DDL takes no parameters. The password is hexadecimal digits of our making.
	if _, err := conn.Exec(ctx, fmt.Sprintf("%s ROLE %s LOGIN CREATEROLE CREATEDB NOSUPERUSER PASSWORD '%s'", verb, serviceName, s.password)); err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", serviceName).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s OWNER %s", serviceName, serviceName)); err != nil {
			return err
		}
	}
	return nil
}

func (s *postgresSpec) dsn(user, password, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", user, password, s.port, database)
}

func (s *postgresSpec) program(name string) string { return filepath.Join(s.native, "bin", name) }

// command prepares one of PostgreSQL's programs: as the server's user, with an environment that holds no PGPASSWORD,
// PGDATA or LD_LIBRARY_PATH of the user's, and a signal to shut down at once if we die. When we are root it starts this
// executable, which becomes that program under the same process id.
func (s *postgresSpec) command(name string, args ...string) *exec.Cmd {
	const onParentDeath = syscall.SIGQUIT
	cmd := &exec.Cmd{Path: s.program(name), Args: append([]string{s.program(name)}, args...)}
	if os.Geteuid() == 0 {
		needed := neededCapability(s.program(name), s.dir)
		cmd.Path = s.Executable
		cmd.Args = append([]string{"headroom-" + name, strconv.Itoa(needed), strconv.Itoa(int(onParentDeath))}, cmd.Args...)
		cmd.Env = []string{childEnv + "=postgres", parentEnv + "=" + strconv.Itoa(os.Getpid())}
	}
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Env, "LC_ALL=C", "TZ=UTC", "PATH="+os.Getenv("PATH"))
	cmd.SysProcAttr = childAttributes(onParentDeath)
	return cmd
}
