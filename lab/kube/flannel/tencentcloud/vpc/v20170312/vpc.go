// Package v20170312 stands in for the SDK's client of virtual private clouds: the names that flannel's backend
// tencent-vpc is compiled with, and nothing that works. It is never run.
package v20170312

import "errors"

var errAbsent = errors.New("this flanneld was built without the SDK of this cloud")

type (
	// Client is the SDK's client.
	Client struct{}
	// Filter chooses route tables.
	Filter struct {
		Name   *string
		Values []*string
	}
	// Route is a route of a route table.
	Route struct {
		RouteId                                                 *uint64
		DestinationCidrBlock, GatewayType, GatewayId, RouteType *string
		Enabled                                                 *bool
	}
	// RouteTable is a route table.
	RouteTable struct {
		RouteTableId *string
		RouteSet     []*Route
	}
	// DescribeRouteTablesRequest asks for route tables.
	DescribeRouteTablesRequest struct{ Filters []*Filter }
	// DescribeRouteTablesResponse has them.
	DescribeRouteTablesResponse struct {
		Response *struct{ RouteTableSet []*RouteTable }
	}
	// CreateRoutesRequest asks for new routes.
	CreateRoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}
	// CreateRoutesResponse is its answer.
	CreateRoutesResponse struct{}
	// DeleteRoutesRequest asks to remove routes.
	DeleteRoutesRequest struct {
		RouteTableId *string
		Routes       []*Route
	}
	// DeleteRoutesResponse is its answer.
	DeleteRoutesResponse struct{}
)

// NewClientWithSecretId always fails.
func NewClientWithSecretId(_, _, _ string) (*Client, error) { return nil, errAbsent }

// NewDescribeRouteTablesRequest returns an empty request.
func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}

// NewCreateRoutesRequest returns an empty request.
func NewCreateRoutesRequest() *CreateRoutesRequest { return &CreateRoutesRequest{} }

// NewDeleteRoutesRequest returns an empty request.
func NewDeleteRoutesRequest() *DeleteRoutesRequest { return &DeleteRoutesRequest{} }

// DescribeRouteTables always fails.
func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errAbsent
}

// CreateRoutes always fails.
func (*Client) CreateRoutes(*CreateRoutesRequest) (*CreateRoutesResponse, error) {
	return nil, errAbsent
}

// DeleteRoutes always fails.
func (*Client) DeleteRoutes(*DeleteRoutesRequest) (*DeleteRoutesResponse, error) {
	return nil, errAbsent
}
