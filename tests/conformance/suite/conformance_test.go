// Package suite has the Gateway API's own conformance suite judge Moongate. Flags are the suite's own, and win over
// options.yaml: --gateway-class, --run-test, --report-output, --usable-address, ...
package suite

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/utils/flags"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

func TestConformance(t *testing.T) {
	if *flags.ConformanceOptionsFile == "" {
		*flags.ConformanceOptionsFile = "options.yaml"
	}
	options := conformance.DefaultOptions(t)
	// The suite asks the GatewayClass what it supports, but not when it is to run a single test.
	if options.RunTest != "" && len(options.SupportedFeatures) == 0 {
		options.SupportedFeatures = claimed(t, options)
	}
	conformance.RunConformanceWithOptions(t, options)
}

// claimed is what the GatewayClass says in its status that it supports.
func claimed(t *testing.T, options suite.ConformanceOptions) []features.FeatureName {
	class := &gatewayv1.GatewayClass{}
	name := types.NamespacedName{Name: options.GatewayClassName}
	require.NoError(t, options.Client.Get(t.Context(), name, class), "error reading the GatewayClass")
	var names []features.FeatureName
	for _, feature := range class.Status.SupportedFeatures {
		names = append(names, features.FeatureName(feature.Name))
	}
	return names
}
