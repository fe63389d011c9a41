package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/gocql/gocql"
)

const (
	// The driver's own limit of 600 ms would turn the tail, which is what is measured, into errors.
	queryTimeout   = 30 * time.Second
	connectTimeout = 10 * time.Second
	createKeyspace = `CREATE KEYSPACE IF NOT EXISTS bench WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}`
	createTable    = `CREATE TABLE IF NOT EXISTS bench.records (key text PRIMARY KEY, value blob)`
)

// cassandraStore reads and writes by quorum, by prepared statements, each sent to an owner of its key: what the driver
// calls token aware.
type cassandraStore struct {
	session *gocql.Session
	names   []string
}

func openCassandra(endpoints []string, data dataSet) (*cassandraStore, error) {
	cluster := gocql.NewCluster()
	for _, endpoint := range endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		if err != nil {
			return nil, err
		}
		// One port for all: the driver learns of the nodes by their addresses.
		if cluster.Port, err = strconv.Atoi(port); err != nil {
			return nil, err
		}
		cluster.Hosts = append(cluster.Hosts, host)
	}
	cluster.Consistency = gocql.Quorum
	cluster.Timeout, cluster.WriteTimeout, cluster.ConnectTimeout = queryTimeout, queryTimeout, connectTimeout
	if err := createSchema(*cluster); err != nil {
		return nil, fmt.Errorf("the schema of %v: %w", endpoints, err)
	}
	cluster.Keyspace = "bench"
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy())
	session, err := cluster.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("cassandra at %v: %w", endpoints, err)
	}
	return &cassandraStore{session, data.keyNames()}, nil
}

func createSchema(cluster gocql.ClusterConfig) error {
	session, err := cluster.CreateSession()
	if err != nil {
		return err
	}
	defer session.Close()
	for _, statement := range []string{createKeyspace, createTable} {
		// Returns when all nodes have the same schema.
		if err := session.Query(statement).Exec(); err != nil {
			return err
		}
	}
	return nil
}

func (s *cassandraStore) get(key int) (int, error) {
	var value []byte
	err := s.session.Query(`SELECT value FROM records WHERE key = ?`, s.names[key]).Scan(&value)
	if errors.Is(err, gocql.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func (s *cassandraStore) put(key int, value []byte) error {
	return s.session.Query(`INSERT INTO records (key, value) VALUES (?, ?)`, s.names[key], value).Exec()
}
