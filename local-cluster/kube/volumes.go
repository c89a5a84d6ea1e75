package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisionerName       = "tunegate.io/local-path"
	provisionedBy         = "pv.kubernetes.io/provisioned-by"
	everyoneMayWrite      = 0o777
	resyncEvery           = 30 * time.Second
	pauseBetweenReactions = 200 * time.Millisecond
)

// volumeProvisioner makes a directory for each claim of a class with our provisioner's name, and removes it with the claim.
//
// It is a process on the node and not the usual local-path-provisioner, because that one starts a pod as root for every
// directory that it makes or removes. On the only node every directory is shared, so ReadWriteMany holds.
type volumeProvisioner struct {
	client  kubernetes.Interface
	root    string
	node    string
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

func runVolumeProvisioner() int {
	kubeconfig := flag.String("kubeconfig", "", "file that says how to reach the cluster")
	root := flag.String("root", "", "directory that holds one directory per volume")
	node := flag.String("node", "", "name of the node that the directories lie on")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serveVolumes(ctx, *kubeconfig, *root, *node); err != nil {
		fmt.Fprintln(os.Stderr, "volume-provisioner:", err)
		return 1
	}
	return 0
}

func serveVolumes(ctx context.Context, kubeconfig, root, node string) error {
	if !filepath.IsAbs(root) || node == "" {
		return errors.New("--root must be an absolute path and --node a node's name")
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, resyncEvery)
	p := &volumeProvisioner{
		client:  client,
		root:    root,
		node:    node,
		claims:  factory.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: factory.Core().V1().PersistentVolumes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
	}
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // a look at everything is already due
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().PersistentVolumeClaims().Informer(),
		factory.Core().V1().PersistentVolumes().Informer(),
		factory.Storage().V1().StorageClasses().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	log.Printf("serving class provisioner %s from %s", provisionerName, root)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			p.reconcile(ctx)
			time.Sleep(pauseBetweenReactions)
		}
	}
}

// reconcile looks at every claim and volume once. One node holds few of them, and what fails is tried again at the next resync.
func (p *volumeProvisioner) reconcile(ctx context.Context) {
	claims, err := p.claims.List(labels.Everything())
	if err != nil {
		log.Printf("list claims: %v", err)
		return
	}
	for _, claim := range claims {
		if err := p.provision(ctx, claim); err != nil {
			log.Printf("claim %s/%s: %v", claim.Namespace, claim.Name, err)
		}
	}
	volumes, err := p.volumes.List(labels.Everything())
	if err != nil {
		log.Printf("list volumes: %v", err)
		return
	}
	for _, volume := range volumes {
		if err := p.reclaim(ctx, volume); err != nil {
			log.Printf("volume %s: %v", volume.Name, err)
		}
	}
}

func (p *volumeProvisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
		return nil
	}
	class, err := p.classes.Get(*claim.Spec.StorageClassName)
	if apierrors.IsNotFound(err) || (err == nil && class.Provisioner != provisionerName) {
		return nil
	}
	if err != nil {
		return err
	}
	if claim.Spec.Selector != nil {
		return errors.New("a claim with a selector can only be bound to a volume that already exists")
	}
	name := "pvc-" + string(claim.UID)
	if _, err := p.volumes.Get(name); err == nil {
		return nil
	}
	directory := filepath.Join(p.root, name)
	if err := os.MkdirAll(directory, everyoneMayWrite); err != nil {
		return err
	}
	// The process's umask took bits away; pods run under any user id.
	if err := os.Chmod(directory, everyoneMayWrite); err != nil {
		return err
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, p.volumeFor(claim, class.Name, name, directory), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err == nil {
		log.Printf("claim %s/%s: made %s", claim.Namespace, claim.Name, directory)
	}
	return err
}

func (p *volumeProvisioner) volumeFor(claim *corev1.PersistentVolumeClaim, class, name, directory string) *corev1.PersistentVolume {
	kind := corev1.HostPathDirectory
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      claim.Spec.Resources.Requests,
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: directory, Type: &kind},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.node},
				}}}},
			}},
		},
	}
}

func (p *volumeProvisioner) reclaim(ctx context.Context, volume *corev1.PersistentVolume) error {
	ours := volume.Annotations[provisionedBy] == provisionerName && volume.Spec.HostPath != nil
	if !ours || volume.Status.Phase != corev1.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	directory := filepath.Join(p.root, volume.Name)
	if volume.Spec.HostPath.Path != directory || strings.ContainsRune(volume.Name, filepath.Separator) {
		return fmt.Errorf("refusing to remove %q: not a directory that this provisioner made", volume.Spec.HostPath.Path)
	}
	if err := os.RemoveAll(directory); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		log.Printf("volume %s: removed with its directory", volume.Name)
	}
	return err
}
