package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"cartwheel/bench/kvv1"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// A ring that is formed is sent at once.
	ringTimeout = 10 * time.Second
	// More than a frame of values each way, so that flow control does not pause a stream between two of them.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 16 << 20
	namespace             = "default"
)

// knownKeys is what a client remembers of each key: the context of the last answer, which the next put sends, so that
// it replaces what the client has seen.
type knownKeys struct {
	names    [][]byte
	contexts []atomic.Pointer[[]byte]
}

func newKnownKeys(data dataSet) *knownKeys {
	k := &knownKeys{contexts: make([]atomic.Pointer[[]byte], data.keys)}
	for _, name := range data.keyNames() {
		k.names = append(k.names, []byte(name))
	}
	return k
}

func (k *knownKeys) contextOf(key int) []byte {
	if context := k.contexts[key].Load(); context != nil {
		return *context
	}
	return nil
}

func (k *knownKeys) remember(key int, context []byte) { k.contexts[key].Store(&context) }

// cartwheelStore sends each operation by one of its sessions.
type cartwheelStore struct {
	known    *knownKeys
	sessions []*session
	choose   func(key []byte) int
}

func (s *cartwheelStore) get(key int) (int, error) {
	name := s.known.names[key]
	request := &kvv1.GetRequest{Key: name}
	result, err := s.sessions[s.choose(name)].do(&kvv1.Operation{Operation: &kvv1.Operation_Get{Get: request}})
	if err != nil {
		return 0, err
	}
	s.known.remember(key, result.GetGet().GetContext())
	return len(result.GetGet().GetSiblings()) + len(result.GetGet().GetOmitted()), nil
}

func (s *cartwheelStore) put(key int, value []byte) error {
	name := s.known.names[key]
	request := &kvv1.PutRequest{Key: name, Value: value, Context: s.known.contextOf(key)}
	result, err := s.sessions[s.choose(name)].do(&kvv1.Operation{Operation: &kvv1.Operation_Put{Put: request}})
	if err != nil {
		return err
	}
	s.known.remember(key, result.GetPut().GetContext())
	return nil
}

// openThroughRouters sends operations to routers in turn: what a client does that knows nothing of the ring.
func openThroughRouters(routers []string, known *knownKeys) (*cartwheelStore, error) {
	if len(routers) == 0 {
		return nil, errors.New("the path router needs -routers")
	}
	s := &cartwheelStore{known: known}
	for _, address := range routers {
		opened, err := openSessionTo(address)
		if err != nil {
			return nil, err
		}
		s.sessions = append(s.sessions, opened)
	}
	var turn atomic.Uint64
	s.choose = func([]byte) int { return int(turn.Add(1) % uint64(len(s.sessions))) }
	return s, nil
}

// openDirect sends each operation to the first owner of its partition: a partition-aware client. It reads the ring
// once: the clusters measured here do not change.
func openDirect(endpoints []string, known *knownKeys) (*cartwheelStore, error) {
	connection, err := dial(endpoints[0])
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client := kvv1.NewKeyValueServiceClient(connection)
	ring, err := readRing(client)
	if err != nil {
		return nil, fmt.Errorf("the ring of %s: %w", endpoints[0], err)
	}
	shift := 64 - bits.TrailingZeros32(ring.Partitions)
	partitionOf := func(key []byte) uint64 { return hashOf(key) >> shift } // Go shifts by 64 to 0
	if err := checkPartition(client, known.names[0], partitionOf(known.names[0])); err != nil {
		return nil, err
	}
	addresses := map[uint32]string{}
	for _, node := range ring.Nodes {
		addresses[node.Index] = node.Address
	}
	s := &cartwheelStore{known: known}
	sessionOf := map[uint32]int{}
	byPartition := make([]int, len(ring.Owners))
	for partition, owners := range ring.Owners {
		first := owners.Owners[0]
		if _, isOpen := sessionOf[first]; !isOpen {
			opened, err := openSessionTo(addresses[first])
			if err != nil {
				return nil, err
			}
			sessionOf[first] = len(s.sessions)
			s.sessions = append(s.sessions, opened)
		}
		byPartition[partition] = sessionOf[first]
	}
	s.choose = func(key []byte) int { return byPartition[partitionOf(key)] }
	return s, nil
}

func readRing(client kvv1.KeyValueServiceClient) (*kvv1.Ring, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ringTimeout)
	defer cancel()
	watch, err := client.WatchRing(ctx, &kvv1.WatchRingRequest{})
	if err != nil {
		return nil, err
	}
	answer, err := watch.Recv()
	if err != nil {
		return nil, err
	}
	ring := answer.GetRing()
	if ring.GetHash() != kvv1.KeyHash_KEY_HASH_XXH64 || len(ring.Owners) != int(ring.Partitions) || bits.OnesCount32(ring.Partitions) != 1 {
		return nil, fmt.Errorf("wanted XXH64 and a power of two of partitions, each with owners; saw %v, %d partitions, %d with owners",
			ring.GetHash(), ring.GetPartitions(), len(ring.GetOwners()))
	}
	return ring, nil
}

// hashOf is the hash of kv.proto, Ring.
func hashOf(key []byte) uint64 {
	var digest xxhash.Digest
	digest.Reset()
	_, _ = digest.WriteString(namespace + "\x00")
	_, _ = digest.Write(key)
	return digest.Sum64()
}

// checkPartition asks the server where a key lives. A client that computed it otherwise would still get its answers,
// because nodes send operations on, and would measure that.
func checkPartition(client kvv1.KeyValueServiceClient, key []byte, partition uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), ringTimeout)
	defer cancel()
	answer, err := client.Explain(ctx, &kvv1.ExplainRequest{Key: key})
	if err != nil {
		return fmt.Errorf("explain of %q: %w", key, err)
	}
	if uint64(answer.Partition) != partition || answer.Hash != hashOf(key) {
		return fmt.Errorf("key %q: hash %d, partition %d here; %d, %d at the server", key, hashOf(key), partition, answer.Hash, answer.Partition)
	}
	return nil
}

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithInitialWindowSize(streamWindowBytes),
		grpc.WithInitialConnWindowSize(connectionWindowBytes))
}

func openSessionTo(address string) (*session, error) {
	connection, err := dial(address)
	if err != nil {
		return nil, err
	}
	opened, err := openSession(kvv1.NewKeyValueServiceClient(connection))
	if err != nil {
		return nil, fmt.Errorf("session with %s: %w", address, err)
	}
	return opened, nil
}
