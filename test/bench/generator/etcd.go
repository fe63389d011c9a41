package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const dialTimeout = 10 * time.Second

// etcdStore sends operations to etcd's members in turn, by etcd's own client: linearizable reads, its default.
type etcdStore struct {
	clients []*clientv3.Client
	turn    atomic.Uint64
	names   []string
}

func openEtcd(endpoints []string, data dataSet) (*etcdStore, error) {
	s := &etcdStore{names: data.keyNames()}
	for _, endpoint := range endpoints {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: dialTimeout})
		if err != nil {
			return nil, fmt.Errorf("etcd at %s: %w", endpoint, err)
		}
		s.clients = append(s.clients, client)
	}
	return s, nil
}

func (s *etcdStore) next() *clientv3.Client {
	return s.clients[s.turn.Add(1)%uint64(len(s.clients))]
}

func (s *etcdStore) get(key int) (int, error) {
	answer, err := s.next().Get(context.Background(), s.names[key])
	if err != nil {
		return 0, err
	}
	return len(answer.Kvs), nil
}

func (s *etcdStore) put(key int, value []byte) error {
	_, err := s.next().Put(context.Background(), s.names[key], string(value))
	return err
}
