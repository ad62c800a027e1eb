package manifests

import (
	"maps"
	"path"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// checkServiceEntries looks at the way to each host outside: an endpoint has to be there, and plain HTTP has to be
// encrypted before it leaves.
func (s *set) checkServiceEntries(found *problems) {
	for _, entry := range s.serviceEntries {
		for _, endpoint := range entry.Spec.GetEndpoints() {
			ports, ok := s.ports(defaultNamespace, endpoint.GetAddress())
			if !ok {
				found.addf("%s: no Service behind the endpoint %s", entry.ID, endpoint.GetAddress())
			}

			for name, port := range endpoint.GetPorts() {
				if ok && !slices.Contains(ports, port) {
					found.addf("%s: the endpoint %s has no port %d", entry.ID, endpoint.GetAddress(), port)
				}

				if !slices.ContainsFunc(entry.Spec.GetPorts(), func(own *networking.ServicePort) bool { return own.GetName() == name }) {
					found.addf("%s: the endpoint's port %s is none of its own", entry.ID, name)
				}
			}
		}

		for _, host := range entry.Spec.GetHosts() {
			for _, port := range entry.Spec.GetPorts() {
				if port.GetProtocol() == "HTTP" {
					found.add(within(entry.ID, s.checkWayOut(entry, host, port.GetNumber())))
				}
			}
		}
	}
}

// checkWayOut follows plain HTTP to the host and port: some route has to forbid retries, and wherever a route leads,
// a rule has to originate TLS.
func (s *set) checkWayOut(entry resource[*networking.ServiceEntry], host string, port uint32) error {
	var (
		found problems
		leads []uint32
	)

	for _, service := range s.virtualServices {
		if !slices.Contains(service.Spec.GetHosts(), host) {
			continue
		}

		for _, route := range service.Spec.GetHttp() {
			if route.GetDirectResponse() != nil {
				continue
			}

			if route.GetRetries() == nil || route.GetRetries().GetAttempts() != 0 {
				found.addf("%s retries calls to %s, on top of the service's own tries", service.ID, host)
			}

			for _, match := range route.GetMatch() {
				if match.GetPort() != 0 && match.GetPort() != port {
					continue
				}

				for _, way := range route.GetRoute() {
					leads = append(leads, way.GetDestination().GetPort().GetNumber())
				}
			}
		}
	}

	if len(leads) == 0 {
		found.addf("no VirtualService routes port %d of %s: the proxy would retry", port, host)
	}

	for _, lead := range leads {
		if !slices.ContainsFunc(s.destinationRules, func(rule resource[*networking.DestinationRule]) bool {
			return rule.Namespace == entry.Namespace && rule.Spec.GetHost() == host && slices.Contains(encrypts(rule.Spec), lead)
		}) {
			found.addf("port %d of %s: plain HTTP would leave through port %d, since no DestinationRule originates TLS there", port, host, lead)
		}
	}

	return found.err()
}

// checkVirtualServices looks for the hosts, ports and subsets that routes name.
func (s *set) checkVirtualServices(found *problems) {
	owners := map[string]string{}

	for _, service := range s.virtualServices {
		for _, host := range service.Spec.GetHosts() {
			if other, ok := owners[host]; ok {
				found.addf("%s: %s has the host %s too (IST0109)", service.ID, other, host)
			}

			owners[host] = service.ID

			if _, ok := s.ports(service.Namespace, host); !ok {
				found.addf("%s: nothing has the host %s", service.ID, host)
			}
		}

		var (
			destinations []*networking.Destination
			matched      []uint32
		)

		for _, route := range service.Spec.GetHttp() {
			for _, way := range route.GetRoute() {
				destinations = append(destinations, way.GetDestination())
			}

			for _, match := range route.GetMatch() {
				matched = append(matched, match.GetPort())
			}
		}

		for _, route := range service.Spec.GetTls() {
			for _, way := range route.GetRoute() {
				destinations = append(destinations, way.GetDestination())
			}

			for _, match := range route.GetMatch() {
				matched = append(matched, match.GetPort())

				for _, sni := range match.GetSniHosts() {
					if !slices.Contains(service.Spec.GetHosts(), sni) {
						found.addf("%s: the SNI %s is none of its hosts", service.ID, sni)
					}
				}
			}
		}

		for _, host := range service.Spec.GetHosts() {
			for _, port := range matched {
				if ports, _ := s.ports(service.Namespace, host); port != 0 && !slices.Contains(ports, port) {
					found.addf("%s: %s has no port %d", service.ID, host, port)
				}
			}
		}

		for _, destination := range destinations {
			found.add(within(service.ID, s.checkDestination(service.Namespace, destination)))
		}
	}
}

func (s *set) checkDestination(namespace string, destination *networking.Destination) error {
	var found problems

	host, port, subset := destination.GetHost(), destination.GetPort().GetNumber(), destination.GetSubset()

	ports, ok := s.ports(namespace, host)
	if !ok {
		found.addf("nothing has the host %s", host)
	}

	if ok && port != 0 && !slices.Contains(ports, port) {
		found.addf("%s has no port %d", host, port)
	}

	if subset == "" {
		return found.err()
	}

	for _, rule := range s.destinationRules {
		if rule.Namespace != namespace || rule.Spec.GetHost() != host {
			continue
		}

		for _, one := range rule.Spec.GetSubsets() {
			if one.GetName() == subset && s.anyPod(namespace, matches(one.GetLabels())) {
				return found.err()
			}
		}
	}

	found.addf("no DestinationRule gives %s a subset %s that has pods (IST0101)", host, subset)

	return found.err()
}

// checkDestinationRules looks for the hosts and ports of rules. A rule that originates TLS has to say whom to trust, and
// for which name, and that has to be the name asked for.
func (s *set) checkDestinationRules(found *problems) {
	for _, rule := range s.destinationRules {
		host := rule.Spec.GetHost()

		ports, ok := s.ports(rule.Namespace, host)
		if !ok {
			found.addf("%s: nothing has the host %s", rule.ID, host)
		}

		for _, settings := range rule.Spec.GetTrafficPolicy().GetPortLevelSettings() {
			if port := settings.GetPort().GetNumber(); ok && !slices.Contains(ports, port) {
				found.addf("%s: %s has no port %d", rule.ID, host, port)
			}

			if tls := settings.GetTls(); tls != nil {
				found.add(within(rule.ID, s.checkOrigination(rule, tls)))
			}
		}
	}
}

func (s *set) checkOrigination(rule resource[*networking.DestinationRule], tls *networking.ClientTLSSettings) error {
	var found problems

	host := rule.Spec.GetHost()

	if tls.GetMode() != networking.ClientTLSSettings_SIMPLE {
		found.addf("TLS of mode %s", tls.GetMode())
	}

	if tls.GetInsecureSkipVerify().GetValue() {
		found.addf("the certificate of %s is not checked", host)
	}

	if tls.GetSni() != host || !slices.Equal(tls.GetSubjectAltNames(), []string{host}) {
		found.addf("the name in the certificate of %s is not checked: sni %q, subjectAltNames %q", host, tls.GetSni(), tls.GetSubjectAltNames())
	}

	// A waypoint takes a service's rule as its own inbound configuration, for which Istio passes over selectors.
	if rule.Spec.GetWorkloadSelector() != nil && slices.ContainsFunc(s.gateways, func(waypoint *gateway.Gateway) bool {
		return namespaceOf(waypoint.Namespace) == rule.Namespace
	}) {
		found.addf("clear text would leave: no waypoint follows a rule with a workloadSelector")
	}

	switch file, credential := tls.GetCaCertificates(), tls.GetCredentialName(); {
	case credential != "":
		if name, ok := strings.CutPrefix(credential, "configmap://"+rule.Namespace+"/"); !ok || name == "" || file != "" {
			found.addf("credentialName %s: want a ConfigMap of the rule's own namespace, and no caCertificates beside it", credential)
		}
	case file == "":
		found.addf("no caCertificates (IST0129)")
	case file != "system":
		found.add(s.checkFile(rule, file))
	}

	return found.err()
}

// checkFile returns an error unless the rule holds for those sidecars alone that have the file. Another one would wait
// for it, and its pod might never become ready.
func (s *set) checkFile(rule resource[*networking.DestinationRule], file string) error {
	var found problems

	selector := rule.Spec.GetWorkloadSelector().GetMatchLabels()
	if len(selector) == 0 {
		found.addf("reaches sidecars without the file %s: no workloadSelector", file)
	} else if !s.anyPod(rule.Namespace, matches(selector)) {
		found.addf("selects no pod")
	}

	for _, deployment := range s.deployments {
		if namespaceOf(deployment.Namespace) != rule.Namespace || !matches(selector)(deployment.Spec.Template.Labels) {
			continue
		}

		if mounts, err := sidecarMounts(deployment); err != nil || !slices.Contains(slices.Collect(maps.Values(mounts)), path.Dir(file)) {
			found.addf("the sidecar of %s does not have the file %s", deployment.Name, file)
		}
	}

	return found.err()
}

// checkSidecars looks for the workload and the hosts of Sidecar resources.
func (s *set) checkSidecars(found *problems) {
	for _, sidecar := range s.sidecars {
		if !s.anyPod(sidecar.Namespace, matches(sidecar.Spec.GetWorkloadSelector().GetLabels())) {
			found.addf("%s: selects no pod", sidecar.ID)
		}

		for _, egress := range sidecar.Spec.GetEgress() {
			for _, host := range egress.GetHosts() {
				name, local := strings.CutPrefix(host, "./")
				if _, ok := s.ports(sidecar.Namespace, name); !local || !ok {
					found.addf("%s: this namespace has no host %s", sidecar.ID, host)
				}
			}
		}
	}
}

// encrypts returns the ports on which the rule originates TLS.
func encrypts(rule *networking.DestinationRule) []uint32 {
	var ports []uint32

	for _, settings := range rule.GetTrafficPolicy().GetPortLevelSettings() {
		if settings.GetTls().GetMode() == networking.ClientTLSSettings_SIMPLE {
			ports = append(ports, settings.GetPort().GetNumber())
		}
	}

	return ports
}
