// SPDX-License-Identifier: GPL-2.0-only
/* Traffic of a container's network namespace. */
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched/task.h>
#include <net/net_namespace.h>

#include "estiba.h"

static struct net *net_of(struct task_struct *p)
{
	struct net *net = NULL;
	struct task_struct *t;

	rcu_read_lock();
	t = estiba_staying(p);
	if (t) {
		task_lock(t);
		/* It may have begun to exit meanwhile. */
		if (t->nsproxy)
			net = get_net(t->nsproxy->net_ns);
		task_unlock(t);
	}
	rcu_read_unlock();
	return net;
}

/* Interfaces looked at before others get the CPU. */
#define DEVICES_BATCH 64

/*
 * Leaves RCU and comes back. False if the list of interfaces is another one than
 * when it was begun at seq: dev may have gone, or into another namespace, and its
 * way on would lead into that one's list. Who may make interfaces can make any
 * number.
 */
static bool rest_at(const struct net *net, struct net_device *dev,
		    unsigned int seq)
{
	bool same;

	dev_hold(dev);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	/*
	 * Who takes an interface out counts afterwards, then waits for all who
	 * are under RCU: what was in the list until here stays reachable.
	 */
	same = READ_ONCE(net->dev_base_seq) == seq;
	dev_put(dev);
	return same;
}

/*
 * estiba_network_read - sums the interfaces of the first process's namespace,
 * without loopback. In the host's own namespace nothing is the container's.
 */
void estiba_network_read(struct estiba_container *c, u64 now)
{
	u64 rx_bytes = 0, tx_bytes = 0, rx_packets = 0, tx_packets = 0;
	unsigned int looked = 0, seq;
	struct net_device *dev;
	bool whole = true;
	struct net *net;

	if (!c->init)
		return;
	net = net_of(c->init);
	if (!net)
		return;
	if (net == &init_net) {
		c->network = ESTIBA_NETWORK_HOST;
		put_net(net);
		return;
	}
	rcu_read_lock();
	seq = READ_ONCE(net->dev_base_seq);
	for_each_netdev_rcu(net, dev) {
		struct rtnl_link_stats64 s;

		if (dev->flags & IFF_LOOPBACK)
			continue;
		dev_get_stats(dev, &s);
		rx_bytes += s.rx_bytes;
		tx_bytes += s.tx_bytes;
		rx_packets += s.rx_packets;
		tx_packets += s.tx_packets;
		if (++looked % DEVICES_BATCH == 0 && !rest_at(net, dev, seq)) {
			whole = false;
			break;
		}
	}
	rcu_read_unlock();
	put_net(net);
	c->network = ESTIBA_NETWORK_OWN;
	/* Half a sum would look like a fall. */
	if (!whole)
		return;
	counter_feed(&c->net_rx_bytes, rx_bytes, now);
	counter_feed(&c->net_tx_bytes, tx_bytes, now);
	counter_feed(&c->net_rx_packets, rx_packets, now);
	counter_feed(&c->net_tx_packets, tx_packets, now);
}
