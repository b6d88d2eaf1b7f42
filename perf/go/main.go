// One run of one of Go's pools, for object_pool_bench:
//
//	go_pools POOL GOROUTINES OBJECTS USES
//
// uses the pool so often in each goroutine, and prints the wall-clock seconds.
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

var makers = map[string]func(objects int) pool{
	"sync-pool":       newSyncPool,
	"channel":         newChannelPool,
	"mutex-slice":     newSlicePool,
	"channel-factory": newConnectionPool,
}

func run(p pool, goroutines, uses int) time.Duration {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(goroutines)
	done.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go func() {
			p.oneUse()
			ready.Done()
			<-start
			for n := uses; n > 0; n-- {
				p.oneUse()
			}
			done.Done()
		}()
	}
	ready.Wait()
	begin := time.Now()
	close(start)
	done.Wait()
	return time.Since(begin)
}

func main() {
	var name string
	var goroutines, objects, uses int
	_, err := fmt.Sscan(strings.Join(os.Args[1:], " "), &name, &goroutines, &objects, &uses)
	newPool := makers[name]
	if err != nil || newPool == nil || goroutines < 1 || objects < 1 || uses < 1 {
		fmt.Fprintf(os.Stderr, "not a run: %q\n", os.Args[1:])
		os.Exit(2)
	}
	fmt.Println(run(newPool(objects), goroutines, uses).Seconds())
}
