// Informer follows the Nodes of a cluster as an agent does that does nothing about what it costs: client-go's own
// informer, with whole Nodes in memory, and all of them handed on again every five minutes. It makes nothing of them; what
// weftd takes for the same is compared with it.
//
// usage: informer KUBECONFIG FILE
//
// The file is made when all Nodes are there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := run(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "informer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: informer KUBECONFIG FILE")
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[1])
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	source := cache.NewListWatchFromClient(client, "nodes", metav1.NamespaceAll, fields.Everything())
	nodes := cache.NewSharedIndexInformer(source, &corev1.Node{}, 5*time.Minute, cache.Indexers{})
	if _, err := nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{}); err != nil {
		return err
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { nodes.Run(ctx.Done()) })
	defer tasks.Wait()
	if !cache.WaitForCacheSync(ctx.Done(), nodes.HasSynced) {
		return ctx.Err()
	}
	if err := os.WriteFile(args[2], nil, 0o644); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
