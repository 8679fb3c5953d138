package tenant_test

import (
	"testing"
	"time"

	"github.com/nexis-limited/headroom/fault"
	"github.com/nexis-limited/headroom/internal/testenv"
	"github.com/nexis-limited/headroom/tenant"
)

// meanwhile runs f while the user is locked, makes the change when f waits for that, and returns what f did.
func meanwhile(t *testing.T, pg *testenv.Postgres, id int64, change string, f func() error) error {
	t.Helper()
	tx, err := pg.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM control.users WHERE id = $1 FOR UPDATE`, id); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	for waits := false; !waits; {
		err := pg.Owner.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%control.users%')`).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if _, err := tx.Exec(t.Context(), change, id); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return <-done
}

// TestPasswordThatIsChangedMeanwhile resets a password while somebody signs in by the old one, which is also of lesser cost.
func TestPasswordThatIsChangedMeanwhile(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	users := tenant.NewUsers(pg.Pool)
	ada := mustUser(t, users, "ada@example.com", tenant.RoleOwner)
	const weak = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	const reset = `UPDATE control.users SET password = '$argon2id$reset' WHERE id = $1`
	if _, err := pg.Owner.Exec(t.Context(), `UPDATE control.users SET password = $2 WHERE id = $1`, ada.ID, weak); err != nil {
		t.Fatal(err)
	}
	err := meanwhile(t, pg, ada.ID, reset, func() error {
		_, err := users.ByPassword(t.Context(), ada.Email, "password")
		return err
	})
	var stored string
	if err2 := pg.Owner.QueryRow(t.Context(), `SELECT password FROM control.users WHERE id = $1`, ada.ID).Scan(&stored); err2 != nil {
		t.Fatal(err2)
	}
	if !fault.Is(err, fault.Unauthenticated) || stored != "$argon2id$reset" {
		t.Errorf("the old password: %v, stored afterwards: %s", err, stored)
	}

	// The same after the password was checked, before the session begins.
	newer := password
	if _, err := users.Change(t.Context(), rootKey, ada.ID, tenant.UserChange{Password: &newer}); err != nil {
		t.Fatal(err)
	}
	in, err := users.ByPassword(t.Context(), ada.Email, password)
	if err != nil {
		t.Fatal(err)
	}
	still := func() error {
		tx, err := pg.Pool.Begin(t.Context())
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(t.Context()) }()
		return in.CheckStill(t.Context(), tx)
	}
	if err := still(); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	if err := meanwhile(t, pg, ada.ID, reset, still); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a session begins with the old password: %v", err)
	}
}

// TestDemotionOutlivesTheProvider takes a role that groups gave while its owner signs in by them.
func TestDemotionOutlivesTheProvider(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t)
	users := tenant.NewUsers(pg.Pool)
	p := tenant.ProviderUser{Issuer: "https://login.example.com", Subject: "1", Email: "ada@example.com", Mapped: true, Role: tenant.RoleAdmin}
	ada, err := users.ByProvider(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var after tenant.User
	err = meanwhile(t, pg, ada.ID, `UPDATE control.grants SET role = 'viewer', source = 'person' WHERE user_id = $1`, func() (err error) {
		after, err = users.ByProvider(t.Context(), p)
		return err
	})
	if err != nil || after.Role != tenant.RoleViewer {
		t.Errorf("signed in while a person made them a viewer: %+v, %v", after, err)
	}
}
